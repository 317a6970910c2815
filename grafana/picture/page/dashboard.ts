// The dashboard's file, as far as the page reads it.

import type { DataTransformerConfig, FieldConfigSource, RawTimeRange } from '@grafana/data';
import type { ReduceDataOptions, TableCellHeight, VizLegendOptions, VizOrientation } from '@grafana/schema';
import type {
  BigValueColorMode,
  BigValueGraphMode,
  BigValueJustifyMode,
  BigValueTextMode,
  PercentChangeColorMode,
} from '@grafana/schema';

export interface Target {
  refId: string;
  expr: string;
  instant?: boolean;
  range?: boolean;
  format?: 'table' | 'time_series';
  legendFormat?: string;
}

export interface StatOptions {
  colorMode: BigValueColorMode;
  graphMode: BigValueGraphMode;
  justifyMode: BigValueJustifyMode;
  textMode: BigValueTextMode;
  orientation: VizOrientation;
  reduceOptions: ReduceDataOptions;
  wideLayout: boolean;
  showPercentChange: boolean;
  percentChangeColorMode: PercentChangeColorMode;
}

export interface TableOptions {
  showHeader: boolean;
  frameIndex: number;
  cellHeight: TableCellHeight;
  sortBy?: Array<{ displayName: string; desc?: boolean }>;
}

export interface TimeSeriesOptions {
  legend: VizLegendOptions;
}

interface PanelOf<Type, Options> {
  id: number;
  type: Type;
  title: string;
  description: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets: Target[];
  transformations?: DataTransformerConfig[];
  options: Options;
  fieldConfig: FieldConfigSource;
}

export type StatPanel = PanelOf<'stat', StatOptions>;
export type TablePanel = PanelOf<'table', TableOptions>;
export type TimeSeriesPanel = PanelOf<'timeseries', TimeSeriesOptions>;
export type Panel = StatPanel | TablePanel | TimeSeriesPanel;

export interface Variable {
  name: string;
  label: string;
  description?: string;
  type: 'datasource' | 'custom' | 'query';
  query: string | { query: string };
  regex?: string;
  hide: number;
  current: { text: string; value: string };
}

export interface Dashboard {
  title: string;
  refresh: string;
  time: RawTimeRange;
  timezone: string;
  templating: { list: Variable[] };
  panels: Panel[];
}
