// Asks Prometheus, and makes Grafana's data frames of the answers as its Prometheus data source does.

import { createDataFrame, type DataFrame, FieldType, rangeUtil, renderLegendFormat, type TimeRange } from '@grafana/data';

import type { Target } from './dashboard';

interface Series {
  metric: Record<string, string>;
  value?: [number, string];
  values?: Array<[number, string]>;
}

async function ask(path: string, parameters: Record<string, string>): Promise<Series[]> {
  const answer = await fetch(`api/v1/${path}?${new URLSearchParams(parameters)}`);
  const body = await answer.json();
  if (body.status !== 'success') {
    throw new Error(`${parameters.query}: ${body.error}`);
  }
  return body.data.result;
}

/** Asks for what holds at the end of the range. */
export function instant(query: string, range: TimeRange): Promise<Series[]> {
  return ask('query', { query, time: String(range.to.valueOf() / 1000) });
}

/** Runs one query of a panel that is so many pixels wide. */
export async function run(target: Target, query: string, range: TimeRange, width: number, scrape: string) {
  if (target.instant) {
    const series = await instant(query, range);
    return target.format === 'table' ? [table(series)] : series.map((one) => frame(one, target, query));
  }
  const step = rangeUtil.calculateInterval(range, width, scrape).intervalMs / 1000;
  // The data source has both ends on multiples of the step, so that a refresh moves no point.
  const aligned = (milliseconds: number) => String(Math.floor(milliseconds / 1000 / step) * step);
  const series = await ask('query_range', {
    query,
    start: aligned(range.from.valueOf()),
    end: aligned(range.to.valueOf()),
    step: String(step),
  });
  return series.map((one) => frame(one, target, query));
}

function frame(series: Series, target: Target, query: string): DataFrame {
  const points = series.values ?? (series.value ? [series.value] : []);
  const name = target.legendFormat ? renderLegendFormat(target.legendFormat, series.metric) : selector(series.metric, query);
  return createDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: points.map(([time]) => time * 1000) },
      {
        name: 'Value',
        type: FieldType.number,
        values: points.map(([, value]) => Number(value)),
        labels: series.metric,
        config: { displayNameFromDS: name },
      },
    ],
  });
}

function selector(labels: Record<string, string>, query: string): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value}"`);
  return pairs.length > 0 ? `{${pairs.join(', ')}}` : query;
}

/** One row for each series, one column for each label, in the order of the alphabet. */
function table(series: Series[]): DataFrame {
  const labels = [...new Set(series.flatMap((one) => Object.keys(one.metric)))].sort();
  return createDataFrame({
    fields: [
      { name: 'Time', type: FieldType.time, values: series.map((one) => one.value![0] * 1000) },
      ...labels.map((label) => ({
        name: label,
        type: FieldType.string,
        values: series.map((one) => one.metric[label] ?? ''),
      })),
      { name: 'Value', type: FieldType.number, values: series.map((one) => Number(one.value![1])) },
    ],
  });
}
