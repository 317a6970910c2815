// The dashboard's variables: what each offers, what it is set to, and its value in a query.

import { stringToJsRegex, type TimeRange } from '@grafana/data';

import type { Dashboard, Variable } from './dashboard';
import { instant } from './prometheus';

export interface Chosen {
  variable: Variable;
  value: string;
  options: string[];
}

/** Sets every variable as Grafana does when the dashboard is opened: to what it is saved with, else to the first. */
export async function choose(dashboard: Dashboard, range: TimeRange, source: string): Promise<Chosen[]> {
  return Promise.all(
    dashboard.templating.list.map(async (variable) => {
      const options = await offered(variable, range, source);
      const saved = variable.current.value;
      const value = options.includes(saved) ? saved : options[0];
      if (value === undefined) {
        throw new Error(`the variable ${variable.name} offers nothing`);
      }
      return { variable, value, options };
    })
  );
}

async function offered(variable: Variable, range: TimeRange, source: string): Promise<string[]> {
  const query = typeof variable.query === 'string' ? variable.query : variable.query.query;
  switch (variable.type) {
    case 'datasource':
      return [source];
    case 'custom':
      return query.split(',').map((option) => option.trim());
    case 'query': {
      const asked = /^query_result\((.*)\)$/s.exec(query);
      if (!asked) {
        throw new Error(`the variable ${variable.name} asks for something else than a query's result`);
      }
      const series = await instant(asked[1], range);
      const texts = series.map(({ metric, value }) => {
        const labels = Object.entries(metric).map(([name, label]) => `${name}="${label}"`);
        return `{${labels.join(',')}} ${value![1]} ${value![0] * 1000}`;
      });
      const pattern = stringToJsRegex(variable.regex || '/(.*)/');
      return texts.flatMap((text) => pattern.exec(text)?.[1] ?? []);
    }
  }
}

/** Writes the variables' values into a query. */
export function interpolated(query: string, chosen: Chosen[]): string {
  return query.replace(/\$(\w+)|\$\{(\w+)\}/g, (whole, plain, braced) => {
    const found = chosen.find(({ variable }) => variable.name === (plain ?? braced));
    return found ? found.value.replaceAll('\\', '\\\\').replaceAll("'", "\\'") : whole;
  });
}
