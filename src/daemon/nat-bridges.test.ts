import { expect, test } from 'vitest';
import { natListener, listener, node, tableOf } from '../../test/make/table.ts';
import { filesOf } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { watchNatBridges } from './nat-bridges.ts';

const settings = '/proc/sys/net/bridge/bridge-nf-call-iptables';
const own = '/sys/class/net/br0/bridge/nf_call_iptables';

test('flows of nat to nodes behind a bridge that br_netfilter filters are reported once while that lasts, those of HAProxy are not', async () => {
  const texts = new Map([
    [settings, '1\n'],
    [own, '0\n'],
  ]);
  const [clock, log, stop] = [virtualClock(), recordLog(), new AbortController()];
  const nodes = [node('n1', '192.0.2.11')];
  let table = tableOf([listener('10.50.0.1', 80, 30_080)], nodes);
  let device = 'br0';
  const links = { linkOf: () => ({ name: device, index: 2, mac: '02:00:00:00:00:01', mtu: 1_500 }) };
  const running = Promise.allSettled([
    watchNatBridges({ files: filesOf(texts), desired: () => table, links, clock, log }, stop.signal),
  ]);
  const said = async (): Promise<readonly unknown[]> => {
    const before = log.lines.length;
    await clock.advance(30_000);
    return log.lines.slice(before).map(({ message, fields }) => [message, fields['err']]);
  };
  const failed = ['passing flows of nat on through a bridge failed; retrying', expect.stringContaining('filters br0:')];
  const over = ['passing flows of nat on through a bridge works again', undefined];
  expect(await said()).toEqual([]);
  table = tableOf([natListener('10.50.0.1', 53, 30_053)], nodes);
  expect(await said()).toEqual([failed]);
  expect(await said()).toEqual([]);
  texts.set(settings, '0\n');
  expect(await said()).toEqual([over]);
  texts.set(own, '1\n');
  expect(await said()).toEqual([failed]);
  device = 'eth0';
  expect(await said()).toEqual([over]);
  table = tableOf([natListener('fd50::1', 53, 30_053)], nodes);
  device = 'br0';
  expect(await said()).toEqual([]);
  stop.abort();
  await running;
});
