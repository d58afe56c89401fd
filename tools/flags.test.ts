import { expect, test } from 'vitest';
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
