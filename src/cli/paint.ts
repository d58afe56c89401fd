import { styleText } from 'node:util';

/** Colours by meaning. */
export type Paint = (text: string, tone: Tone) => string;
export type Tone = 'good' | 'warning' | 'bad' | 'heading' | 'plain';

const styles = { good: 'green', warning: 'yellow', bad: 'red', heading: 'bold' } as const;

/** Whether text for this stream has colour. `noColor`: the variable NO_COLOR (https://no-color.org), off if empty. */
export function hasColour({ isTTY = false }: { readonly isTTY?: boolean }, noColor: string | undefined): boolean {
  return isTTY && !noColor;
}

/** Without colour each text stays as it is. The caller decides: styleText itself would check the wrong stream. */
export function makePaint(isColoured: boolean): Paint {
  return (text, tone) =>
    isColoured && tone !== 'plain' ? styleText(styles[tone], text, { validateStream: false }) : text;
}
