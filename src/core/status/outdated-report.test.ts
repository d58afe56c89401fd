import { expect, test } from 'vitest';
import { makeService } from '../../../test/make/service.ts';
import { statusOf } from '../../../test/make/status.ts';
import type { Revision } from '../revision.ts';

test('a refusal of an earlier revision says nothing of a listener that has changed since', () => {
  const verdict = { reason: 'DataplaneError', message: 'nft: no such thing' } as const;
  const answer = () => ({ refusal: { revision: 'old' as Revision, verdict } });
  expect(statusOf([makeService('a')], { answer })).toBeUndefined();
});

test('a listener that another Service still has is not in force', () => {
  const answer = (revision: Revision | undefined) => ({
    revision,
    isForwarding: true,
    holder: makeService('b').key,
  });
  expect(statusOf([makeService('a')], { answer })).toBeUndefined();
});
