import { makePaint, type Paint, type Tone } from './paint.ts';
import { printable, wrap } from './terminal-text.ts';

/** Where a text is shown. */
export type TextScreen = {
  readonly isColoured: boolean;
  /** Width of the terminal; `undefined` where the text goes to a file or a pipe: then nothing is wrapped. */
  readonly columns: number | undefined;
  /** Of the IANA database; the machine's by default. */
  readonly timeZone?: string;
};

export type TextLayout = { readonly paint: Paint; readonly width: number | undefined };

export function layoutOf({ isColoured, columns }: TextScreen): TextLayout {
  return { paint: makePaint(isColoured), width: columns };
}

export type HeadLine = readonly [name: string, words: string, tone: Tone];

const nameWidth = 10;

/** The lines at the head of a screen. */
export function formatHead(lines: readonly HeadLine[], { paint, width }: TextLayout): string {
  return lines
    .map(([name, words, tone]) => `${name.padEnd(nameWidth)}${paint(wrap(printable(words), width, nameWidth), tone)}\n`)
    .join('');
}
