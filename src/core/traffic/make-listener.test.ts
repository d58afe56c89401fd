import { expect, test } from 'vitest';
import { listener } from '../../../test/make/table.ts';
import { ip } from '../../../test/make/service.ts';
import { serviceKey, type ServiceUid } from '../model/names.ts';
import { parseCidr } from '../ip/range.ts';
import { localBackend, type Listener } from './table.ts';

const web = listener('192.0.2.51', 80, 30_080);
const range = parseCidr('192.0.2.0/24');
const key = serviceKey('shop', 'web');

/** Another value of each field. */
const changes: Readonly<
  Required<Omit<{ [Field in keyof Listener]: Listener[Field] }, 'key' | 'revision' | 'options'>>
> = {
  address: ip('192.0.2.52'),
  protocol: 'UDP',
  port: 81,
  service: key,
  uid: 'another' as ServiceUid,
  dataplane: 'nat',
  isPublished: true,
  standIn: 'haproxy',
  needsProof: true,
  isAffine: true,
  affinitySeconds: 30,
  backend: localBackend(4, key),
  targetPort: 30_081,
  sourceRanges: range === undefined ? [] : [range],
  isDraining: true,
  isHostAddress: true,
};

test.each(Object.entries(changes))('a listener with another %s has another key or revision', (field, value) => {
  const changed = listener('192.0.2.51', 80, 30_080, { uid: web.uid, [field]: value });
  expect(`${changed.key} ${changed.revision}`).not.toBe(`${web.key} ${web.revision}`);
});

test('a listener that is closed to all is not as one that is open to all', () => {
  expect(listener('192.0.2.51', 80, 30_080, { sourceRanges: [] }).revision).not.toBe(web.revision);
});
