/** The output of the demo: steps, commands and their output, and whether the checks passed. */
export type Story = {
  /** Begins a step. */
  readonly step: (title: string) => void;
  /** A line of explanation. */
  readonly say: (text: string) => void;
  /** A command on a host, and its output. */
  readonly shell: (host: string, command: string, output: string) => void;
  /**
   * A condition that must hold.
   * @throws DemoError if it does not.
   */
  readonly check: (text: string, holds: boolean) => void;
  /** Rows of three columns, the second flush right. */
  readonly table: (rows: readonly (readonly string[])[]) => void;
};

/** A step of the demo did not hold. */
export class DemoError extends Error {
  override readonly name = 'DemoError';
}

export type StoryDeps = { readonly write: (text: string) => void; readonly hasColour: boolean };

export function makeStory({ write, hasColour }: StoryDeps): Story {
  const style = (code: number, text: string): string => (hasColour ? `\u001B[${code}m${text}\u001B[0m` : text);
  let steps = 0;
  return {
    step: (title) => write(`\n${style(1, `${++steps}. ${title}`)}\n`),
    say: (text) => write(`   ${text}\n`),
    shell: (host, command, output) => write(`   ${style(36, `${host}# ${command}`)}\n${indent(output)}`),
    check: (text, holds) => {
      write(`   ${holds ? style(32, '✓') : style(31, '✗')} ${text}\n`);
      if (!holds) throw new DemoError(`this did not hold: ${text}`);
    },
    table: (rows) => {
      const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
      const align = (cell: string, column: number): string =>
        column === 1 ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0);
      for (const row of rows) write(`   ${row.map(align).join('  ').trimEnd()}\n`);
    },
  };
}

function indent(text: string): string {
  const lines = text.trimEnd();
  return lines === '' ? '' : `${lines.replaceAll(/^/gm, '   ')}\n`;
}
