// From a panel's answers to what its component draws: transformations, then the panel's field configuration.

import {
  applyFieldOverrides,
  type DataFrame,
  type Field,
  type FieldConfigPropertyItem,
  type FieldConfigSource,
  fieldMatchers,
  FieldType,
  type GrafanaTheme2,
  Registry,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from '@grafana/data';
import { lastValueFrom } from 'rxjs';

import type { Panel } from './dashboard';

standardTransformersRegistry.setInit(() =>
  [standardTransformers.organizeFieldsTransformer].map((transformer) => ({
    ...transformer,
    transformation: () => Promise.resolve(transformer),
    editor: () => null,
    imageDark: '',
    imageLight: '',
  }))
);

/** What Grafana's standard options say of numbers only. */
const OF_NUMBERS = ['unit', 'min', 'max', 'decimals', 'thresholds'];

/** Grafana keeps the list of properties in its server's pages: here it is what the panel itself sets. */
function properties({ defaults, overrides }: FieldConfigSource) {
  const { custom, ...standard } = defaults;
  const overridden = overrides.flatMap((rule) => rule.properties.map(({ id }) => id));
  const ids = new Set([
    ...Object.keys(standard),
    ...Object.keys(custom ?? {}).map((name) => `custom.${name}`),
    ...overridden,
  ]);
  const item = (id: string): FieldConfigPropertyItem => ({
    id,
    name: id,
    path: id.replace(/^custom\./, ''),
    isCustom: id.startsWith('custom.'),
    editor: () => null,
    override: () => null,
    process: (value) => value,
    shouldApply: (field: Field) => !OF_NUMBERS.includes(id) || field.type === FieldType.number,
  });
  return new Registry(() => [...ids].map(item));
}

/** Returns the frames as the panel shows them. */
export async function shown(panel: Panel, answers: DataFrame[], theme: GrafanaTheme2, timeZone: string) {
  // Both throw at what is not known, where Grafana goes on without it.
  panel.transformations?.forEach(({ id }) => standardTransformersRegistry.get(id));
  panel.fieldConfig.overrides.forEach(({ matcher }) => fieldMatchers.get(matcher.id));
  const data = await lastValueFrom(transformDataFrame(panel.transformations ?? [], answers));
  return applyFieldOverrides({
    data,
    fieldConfig: panel.fieldConfig,
    fieldConfigRegistry: properties(panel.fieldConfig),
    replaceVariables: (text) => text,
    theme,
    timeZone,
  });
}
