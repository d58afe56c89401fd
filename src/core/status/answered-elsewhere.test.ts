import { expect, test } from 'vitest';
import { makeService } from '../../../test/make/service.ts';
import { type Answer, conditions, statusOf } from '../../../test/make/status.ts';

test('a status keeps an address that another machine answers for, and publishes no new one', () => {
  const service = makeService('a', { ipFamilies: [4, 6] });
  const { ingress = [] } = statusOf([service]) ?? {};
  const published = { ...service, status: { ...service.status, ingress } };
  const left =
    (isLeft: (family: number) => boolean): Answer =>
    (revision, { family, text }) =>
      isLeft(family)
        ? {
            holder: undefined,
            revision: undefined,
            refusal: {
              revision: revision!,
              verdict: { reason: 'AnsweredElsewhere', message: `${text} is not here` },
            },
          }
        : { revision, isForwarding: true };
  const none = statusOf([published], { answer: left(() => true) });
  expect([none?.ingress, conditions(none)['Serving']]).toEqual([ingress, 'False AnsweredElsewhere']);
  const one = statusOf([published], { answer: left((family) => family === 6) });
  expect([one?.ingress, conditions(one)['Serving']]).toEqual([ingress, 'True PartlyServing']);
  expect(statusOf([service], { answer: left(() => true) })?.ingress).toEqual([]);
});
