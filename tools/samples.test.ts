import { globSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

/** Complete screens, compared with what the program writes by the tests of `src/cli`. */
const screens = globSync('src/cli/__golden__/*.txt').map((file) => readFileSync(file, 'utf8'));

/** Code blocks without a language, of which a line is one of `check` or the first line of `status`. */
function samplesIn(text: string): readonly string[] {
  return [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)]
    .flatMap(([, language, sample = '']) => (language === '' ? [sample] : []))
    .filter((sample) => /^ *[✓✗] |^furiwake {2}/m.test(sample));
}

test('every sample of output in the documentation is what the program writes', () => {
  const samples = globSync(['README.md', 'docs/*.md']).flatMap((page) => samplesIn(readFileSync(page, 'utf8')));
  expect(samples.length).toBeGreaterThan(3);
  expect(samples.filter((sample) => !screens.some((screen) => screen.includes(sample)))).toEqual([]);
});
