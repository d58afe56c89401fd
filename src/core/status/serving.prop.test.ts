import fc from 'fast-check';
import { expect, test } from 'vitest';
import { makeNode, makeService, tcp, udp } from '../../../test/make/service.ts';
import { statusOf } from '../../../test/make/status.ts';
import type { Family } from '../ip/ip.ts';

const entries = ['192.0.2.0/24', '0.0.0.0/0', '2001:db8::/32', '::/0', '10.0.0.0/33', 'x', ''];

test('a listener that no client may reach says so, and no other, whatever the source ranges', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...entries), { maxLength: 3 }),
      fc.constantFrom<(readonly Family[])[]>([4], [6], [4, 6], [6, 4]),
      fc.boolean(),
      (sourceRanges, ipFamilies, isOverBudget) => {
        const service = makeService('a', { sourceRanges, ipFamilies, ports: [tcp(80), udp(53)] });
        const [closed, open] = [new Set<Family>(), new Set<Family>()];
        const status = statusOf([service], {
          nodes: [makeNode('n1', '192.0.2.11', '2001:db8::11')],
          overBudget: new Set(isOverBudget ? [service.key] : []),
          answer: (revision, { family }, listener) => {
            (listener.sourceRanges?.length === 0 ? closed : open).add(family);
            return { revision, isForwarding: true };
          },
        });
        const serving = status?.conditions.find(({ type }) => type === 'furiwake.dev/Serving');
        const saidOf = ipFamilies.filter((family) =>
          [`closed to all IPv${family} clients`, 'closed to all clients'].some((words) =>
            serving?.message.includes(words),
          ),
        );
        expect(new Set(saidOf)).toEqual(closed);
        expect(serving?.status).toBe(open.size > 0 ? 'True' : 'False');
      },
    ),
  );
});
