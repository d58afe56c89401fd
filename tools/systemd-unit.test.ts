import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const [, unit = ''] = /^```ini\n(\[Unit\].*?)^```$/ms.exec(readFileSync('docs/getting-started.md', 'utf8')) ?? [];

test.each([
  ['a stop of furiwake leaves HAProxy running', 'KillMode=process'],
  [
    'a HAProxy that the kernel kills for lack of memory does not stop furiwake, which starts it again',
    'OOMPolicy=continue',
  ],
  ['a furiwake that ends in any way is started again', 'Restart=always'],
])('with the systemd unit of the documentation, %s', (_, setting) => {
  expect(unit.split('\n')).toContain(setting);
});
