import { afterEach, expect, test, vi } from 'vitest';
import { toOptions } from '../src/cli/flags.ts';
import { flagsOf } from '../src/cli/options.ts';
import { readCommandLine } from '../src/cli/program.ts';
import { readPage, tableRows } from './page.ts';

/** The expected row of a flag in docs/flags.md. */
type Row = { readonly flag: string; readonly variable: string; readonly byDefault: string };

const commands = Object.keys(flagsOf) as (keyof typeof flagsOf)[];

function rowsOf(command: keyof typeof flagsOf): readonly Row[] {
  return toOptions(flagsOf[command]).map(({ flags, envVar = '', defaultValue }) => ({
    flag: flags,
    variable: envVar,
    byDefault: typeof defaultValue === 'string' ? defaultValue : '',
  }));
}

function byName(flags: readonly Row[]): readonly Row[] {
  return [...flags].sort((a, b) => (a.flag < b.flag ? -1 : 1));
}

const documented = tableRows(readPage('docs/flags.md')).filter(([flag = '']) => flag.includes('--'));

test('docs/flags.md has every flag of every command with its environment variable and default, and no other', () => {
  const inCode = new Map(commands.flatMap(rowsOf).map((row) => [row.flag, row]));
  expect(inCode.size).toBeGreaterThan(10);
  const inDocs = documented.map(([flag = '', variable = '', byDefault = '']) => ({ flag, variable, byDefault }));
  expect(byName(inDocs)).toEqual(byName([...inCode.values()]));
});

test.for(commands)('docs/flags.md says which flags `%s` has', (command) => {
  const inDocs = documented.filter(([, , , by = '']) => by.split(', ').includes(command)).map(([flag]) => flag);
  const inCode = rowsOf(command).map(({ flag }) => flag);
  expect(new Set(inDocs)).toEqual(new Set(inCode));
});

/** Whether traffic stops with furiwake, according to a command line and the flag's variable. */
function stopsTraffic(variable: string | undefined, ...args: readonly string[]): unknown {
  vi.stubEnv('FURIWAKE_STOP_TRAFFIC_ON_EXIT', variable);
  const write = (): void => undefined;
  const invocation = readCommandLine(['run', ...args], {
    version: '',
    env: {},
    columns: 100,
    write,
    writeError: write,
  });
  return invocation.command === 'run' ? invocation.options.stopsTrafficOnExit : invocation;
}

afterEach(() => vi.unstubAllEnvs());

test.each([
  [undefined, [], false],
  [undefined, ['--stop-traffic-on-exit'], true],
  [undefined, ['--stop-traffic-on-exit', 'no'], false],
  [undefined, ['--stop-traffic-on-exit=yes'], true],
  ['no', [], false],
  ['0', [], false],
  ['yes', [], true],
  ['yes', ['--stop-traffic-on-exit', 'no'], false],
])('switches work as in docs/flags.md: variable %s, flags %j: %s', (variable, args, expected) => {
  expect(stopsTraffic(variable, ...args)).toBe(expected);
});
