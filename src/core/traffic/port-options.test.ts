import { expect, test } from 'vitest';
import type { ServicePort } from '../model/service.ts';
import { asksForHaproxy } from './port-options.ts';

test('whether a Service asks for HAProxy is found out once: each of a thousand ports depends on it', () => {
  let reads = 0;
  const ports = Array.from({ length: 1_000 }, (_, index): ServicePort => ({
    name: `p${index}`,
    port: 1_000 + index,
    nodePort: 30_000 + index,
    get protocol() {
      reads++;
      return 'TCP' as const;
    },
  }));
  const spec = { options: [], ports };
  expect(asksForHaproxy(spec)).toBe(false);
  const first = reads;
  for (let index = 0; index < ports.length; index++) expect(asksForHaproxy(spec)).toBe(false);
  expect(reads).toBe(first);
  // The options differ: another answer.
  expect(asksForHaproxy({ ports, options: [['furiwake.dev/http-mode', 'all']] })).toBe(true);
  expect(asksForHaproxy(spec)).toBe(false);
});
