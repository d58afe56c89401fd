import { afterEach, expect, test, vi } from 'vitest';
import { readCommandLine } from '../src/cli/program.ts';
import { readPage, tableRows } from './page.ts';

/** What `--help` tells of a flag, and docs/flags.md must tell too. */
type Flag = { readonly flag: string; readonly variable: string; readonly byDefault: string };

const commands = ['run', 'check', 'cleanup', 'status', 'drain', 'undrain'];

/** The flags in a help text that is not wrapped: `--flag <value>  what it does (default: "x", env: NAME)`. */
function flagsIn(help: string): readonly Flag[] {
  return [...help.matchAll(/^ {2}((?:-\w, )?--[\w-]+(?: <[^>]+>| \[[^\]]+\])?) {2,}(.*)$/gm)]
    .map(([, flag = '', text = '']) => ({
      flag,
      variable: /env: (\w+)/.exec(text)?.[1] ?? '',
      byDefault: /default: "?([^",)]+)/.exec(text)?.[1] ?? '',
    }))
    .filter(({ flag }) => flag !== '-h, --help');
}

function helpOf(command: string): string {
  let text = '';
  const write = (part: string): void => {
    text += part;
  };
  readCommandLine([command, '--help'], { version: '', isTerminal: false, columns: 1_000, write, writeError: write });
  return text;
}

function byName(flags: readonly Flag[]): readonly Flag[] {
  return [...flags].sort((a, b) => (a.flag < b.flag ? -1 : 1));
}

const documented = tableRows(readPage('docs/flags.md')).filter(([flag = '']) => flag.includes('--'));

test('docs/flags.md has every flag of every command with its environment variable and default, and no other', () => {
  const inCode = new Map(commands.flatMap((name) => flagsIn(helpOf(name))).map((flag) => [flag.flag, flag]));
  expect(inCode.size).toBeGreaterThan(10);
  const inDocs = documented.map(([flag = '', variable = '', byDefault = '']) => ({ flag, variable, byDefault }));
  expect(byName(inDocs)).toEqual(byName([...inCode.values()]));
});

test.for(commands)('docs/flags.md says which flags `%s` has', (command) => {
  const inDocs = documented.filter(([, , , by = '']) => by.split(', ').includes(command)).map(([flag]) => flag);
  const inCode = flagsIn(helpOf(command)).map(({ flag }) => flag);
  expect(new Set(inDocs)).toEqual(new Set(inCode));
});

/** Whether traffic stops with furiwake, as a command line and the flag's variable say. */
function stopsTraffic(variable: string | undefined, ...args: readonly string[]): unknown {
  vi.stubEnv('FURIWAKE_STOP_TRAFFIC_ON_EXIT', variable);
  const write = (): void => undefined;
  const invocation = readCommandLine(['run', ...args], {
    version: '',
    isTerminal: false,
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
])('as docs/flags.md says of switches: variable %s, flags %j: %s', (variable, args, expected) => {
  expect(stopsTraffic(variable, ...args)).toBe(expected);
});
