// One panel of each kind, drawn by the component that Grafana's own panel of that kind draws with.

import {
  cacheFieldDisplayNames,
  type DataFrame,
  type FieldDisplay,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  type TimeRange,
} from '@grafana/data';
import { BigValueGraphMode } from '@grafana/schema';
import { BigValue, TimeSeries, useTheme2, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

import type { Panel, StatPanel, TablePanel, TimeSeriesPanel } from './dashboard';

interface Room {
  width: number;
  height: number;
}

interface Props<P> extends Room {
  panel: P;
  data: DataFrame[];
  range: TimeRange;
  timeZone: string;
}

export function Visualization({ panel, ...rest }: Props<Panel>) {
  switch (panel.type) {
    case 'stat':
      return <Stat panel={panel} {...rest} />;
    case 'table':
      return <Table panel={panel} {...rest} />;
    case 'timeseries':
      return <Lines panel={panel} {...rest} />;
  }
}

/** Whether Grafana has padding between the panel's edge and this kind of visualization. */
export function padded(panel: Panel): boolean {
  return panel.type !== 'table';
}

function Stat({ panel, data, width, height, timeZone }: Props<StatPanel>) {
  const theme = useTheme2();
  const { options, fieldConfig } = panel;
  const values = () =>
    getFieldDisplayValues({
      fieldConfig,
      reduceOptions: options.reduceOptions,
      replaceVariables: (text) => text,
      theme,
      data,
      sparkline: options.graphMode !== BigValueGraphMode.None,
      percentChange: options.showPercentChange,
      timeZone,
    });
  return (
    <VizRepeater
      getValues={values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, alignmentFactors, count, ...room }) => (
        <BigValue
          {...room}
          value={(value as FieldDisplay).display}
          sparkline={(value as FieldDisplay).sparkline}
          count={count}
          alignmentFactors={alignmentFactors}
          colorMode={options.colorMode}
          graphMode={options.graphMode}
          justifyMode={options.justifyMode}
          textMode={options.textMode}
          percentChangeColorMode={options.percentChangeColorMode}
          disableWideLayout={!options.wideLayout}
          theme={theme}
        />
      )}
      source={data}
      renderCounter={0}
      itemSpacing={3}
      orientation={options.orientation}
      autoGrid
      width={width}
      height={height}
    />
  );
}

function Table({ panel, data, width, height, range }: Props<TablePanel>) {
  const { options, fieldConfig } = panel;
  // The table goes by the names that were worked out before.
  cacheFieldDisplayNames(data);
  return (
    <TableNG
      data={data[options.frameIndex]}
      width={width}
      height={height}
      noHeader={!options.showHeader}
      cellHeight={options.cellHeight}
      sortBy={options.sortBy}
      fieldConfig={fieldConfig}
      timeRange={range}
      resizable
    />
  );
}

function Lines({ panel, data, width, height, range, timeZone }: Props<TimeSeriesPanel>) {
  return (
    <TimeSeries
      frames={data}
      width={width}
      height={height}
      timeRange={range}
      timeZone={timeZone}
      legend={panel.options.legend}
    />
  );
}
