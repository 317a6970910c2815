// What stands above the panels: the title, the time range, how often the dashboard is refreshed, the variables.

import type { TimeRange } from '@grafana/data';
import { Combobox, InlineLabel, RefreshPicker, Stack, Text, TimeRangePicker } from '@grafana/ui';

import type { Chosen } from './variables';

interface Props {
  title: string;
  chosen: Chosen[];
  range: TimeRange;
  refresh: string;
  timeZone: string;
}

const nothing = () => {};

export function Controls({ title, chosen, range, refresh, timeZone }: Props) {
  return (
    <Stack direction="column" gap={1}>
      <Stack alignItems="center" justifyContent="space-between">
        <Text element="h1" variant="h4">
          {title}
        </Text>
        <Stack gap={1}>
          <TimeRangePicker
            value={range}
            timeZone={timeZone}
            onChange={nothing}
            onChangeTimeZone={nothing}
            onMoveBackward={nothing}
            onMoveForward={nothing}
            onZoom={nothing}
          />
          <RefreshPicker value={refresh} onIntervalChanged={nothing} onRefresh={nothing} />
        </Stack>
      </Stack>
      <Stack gap={1}>
        {chosen
          .filter(({ variable }) => variable.hide === 0)
          .map((one) => (
            <VariableControl key={one.variable.name} {...one} />
          ))}
      </Stack>
    </Stack>
  );
}

function VariableControl({ variable, value, options }: Chosen) {
  return (
    <Stack gap={0}>
      <InlineLabel width="auto" tooltip={variable.description}>
        {variable.label}
      </InlineLabel>
      <Combobox
        width="auto"
        minWidth={8}
        options={options.map((option) => ({ value: option, label: option }))}
        value={value}
        onChange={nothing}
      />
    </Stack>
  );
}
