import { expect, test } from 'vitest';
import { makeService } from '../../../test/make/service.ts';
import { heldWords } from './held.ts';

const entry = (ip: string | undefined, hostname?: string) => ({ ip, hostname, ipMode: undefined, ports: [] });

test.each([
  ['kubectl', [entry('203.0.113.9')], 'kubectl wrote 203.0.113.9'],
  ['speaker', [entry('203.0.113.9'), entry('2001:db8::9')], 'speaker wrote 203.0.113.9, 2001:db8::9'],
  [undefined, [entry(undefined, 'lb.example.com')], 'an unknown client wrote lb.example.com'],
])(
  'a Service whose status %s wrote is left alone, and that is said with what it wrote',
  (ingressManager, ingress, words) => {
    const service = makeService('a', {}, { status: { ingress, ingressManager } });
    expect(heldWords(service)).toBe(`${words}, and the Service has no class: furiwake leaves it alone`);
  },
);
