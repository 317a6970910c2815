// Opens the dashboard as Grafana does and tells `window.picture` when it is drawn, or what is wrong with it.

import { createTheme, type DataFrame, rangeUtil, type TimeRange } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { GlobalStyles, PanelChrome, PortalContainer, ThemeContext } from '@grafana/ui';
import { createRoot } from 'react-dom/client';

import { Controls } from './controls';
import type { Dashboard, Panel } from './dashboard';
import { shown } from './fields';
import { padded, Visualization } from './panels';
import { run } from './prometheus';
import { choose, type Chosen, interpolated } from './variables';

declare global {
  interface Window {
    picture?: { problems: string[] };
  }
}

/** Grafana's grid. */
const COLUMNS = 24;
const ROW = 30;
const GAP = 8;

const theme = createTheme({ colors: { mode: 'dark' } });

function place({ x, y, w, h }: Panel['gridPos']) {
  const column = (window.innerWidth - 2 * GAP - (COLUMNS - 1) * GAP) / COLUMNS;
  return {
    left: Math.round(x * (column + GAP)),
    top: y * (ROW + GAP),
    width: Math.round(w * column + (w - 1) * GAP),
    height: h * ROW + (h - 1) * GAP,
  };
}

interface Drawn {
  panel: Panel;
  data: DataFrame[];
}

async function open() {
  const [dashboard, surroundings] = await Promise.all(
    ['dashboard.json', 'surroundings.json'].map(async (path) => (await fetch(path)).json())
  );
  await initPluginTranslations('grafana');
  const { title, refresh, timezone, panels }: Dashboard = dashboard;
  const timeZone = timezone || 'browser';
  const range = rangeUtil.convertRawToRange(surroundings.time ?? dashboard.time, timeZone);
  const chosen = await choose(dashboard, range, surroundings.source);
  const drawn = await Promise.all(
    panels.map(async (panel): Promise<Drawn> => {
      const { width } = place(panel.gridPos);
      const asked = panel.targets.map((target) =>
        run(target, interpolated(target.expr, chosen), range, width, surroundings.scrape)
      );
      const data = await shown(panel, (await Promise.all(asked)).flat(), theme, timeZone);
      if (!data.some((frame) => frame.length > 0)) {
        throw new Error(`the panel ${panel.title} has no data`);
      }
      return { panel, data };
    })
  );
  const page = <Page {...{ title, drawn, chosen, range, refresh, timeZone }} />;
  createRoot(document.getElementById('dashboard')!).render(page);
  await document.fonts.ready;
}

interface PageProps {
  title: string;
  drawn: Drawn[];
  chosen: Chosen[];
  range: TimeRange;
  refresh: string;
  timeZone: string;
}

function Page({ title, drawn, chosen, range, refresh, timeZone }: PageProps) {
  const bottom = Math.max(...drawn.map(({ panel }) => place(panel.gridPos).top + place(panel.gridPos).height));
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div id="picture" style={{ padding: GAP, background: theme.colors.background.canvas }}>
        <Controls {...{ title, chosen, range, refresh, timeZone }} />
        <div style={{ position: 'relative', marginTop: GAP, height: bottom }}>
          {drawn.map(({ panel, data }) => {
            const { left, top, width, height } = place(panel.gridPos);
            return (
              <div key={panel.id} data-panel={panel.title} style={{ position: 'absolute', left, top, width, height }}>
                <PanelChrome
                  title={panel.title}
                  description={panel.description || undefined}
                  width={width}
                  height={height}
                  padding={padded(panel) ? 'md' : 'none'}
                >
                  {(innerWidth, innerHeight) => (
                    <Visualization {...{ panel, data, range, timeZone }} width={innerWidth} height={innerHeight} />
                  )}
                </PanelChrome>
              </div>
            );
          })}
        </div>
      </div>
      <PortalContainer />
    </ThemeContext.Provider>
  );
}

open().then(
  () => (window.picture = { problems: [] }),
  (error) => (window.picture = { problems: [String(error)] })
);
