import { expect, test } from 'vitest';
import { makeLeaseCluster } from '../../test/make/lease-cluster.ts';
import { slowly } from '../../test/make/slow-lease-client.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { makeLease } from './lease.ts';

test('a claim holds for ten seconds from its request, not from its answer: other hosts see it before the answer arrives', async () => {
  const cluster = makeLeaseCluster();
  const clock = virtualClock();
  let answerMs = 4_000;
  const lease = makeLease({
    client: slowly(cluster.clientOf('box-1'), () => answerMs, clock),
    namespace: 'ns',
    name: 'furiwake',
    identity: 'box-1',
    mayBeServed: cluster.mayBeServed,
    random: () => 0.5,
    clock,
    log: recordLog(),
  });
  const end = new AbortController();
  await clock.drive(lease.acquire(end.signal));
  expect(lease.holderUntilMs() - clock.monotonic()).toBe(6_000);
  answerMs = 2_500;
  let renewed = (): void => undefined;
  const isRenewed = new Promise<void>((resolve) => {
    renewed = resolve;
  });
  let tries = 0;
  void lease.hold(end.signal, () => ++tries === 2 && renewed());
  await clock.drive(isRenewed);
  expect(lease.holderUntilMs() - clock.monotonic()).toBe(7_500);
  end.abort();
});

test('a holder whose Lease was deleted before it was cut off creates none over that of a host that took it meanwhile, also if this one was deleted as well', async () => {
  const cluster = makeLeaseCluster();
  const [clock, log, end] = [virtualClock(), recordLog(), new AbortController()];
  const [cutOff, other] = ['box-1', 'box-2'].map((host) =>
    cluster.claimOf(host, { clock, log, hasOthers: () => true }),
  );
  await cutOff?.acquire(end.signal);
  void cutOff?.hold(end.signal);
  cluster.lease = undefined;
  cluster.hasNamespace = false; // it notices, and cannot create another one
  await clock.advance(6_000);
  cluster.links.set('box-1', 'cut');
  cluster.hasNamespace = true;
  const taking = async (): Promise<void> => {
    await other?.acquire(end.signal);
    await other?.hold(end.signal);
  };
  void taking().catch(() => undefined);
  await clock.advance(92_000);
  expect([cutOff?.isHolder(), other?.isHolder()]).toEqual([false, true]);
  cluster.lease = undefined;
  cluster.links.clear();
  for (let tenths = 0; tenths < 100; tenths += 1) {
    await clock.advance(100);
    expect([cutOff?.isHolder(), other?.isHolder()]).toEqual([false, true]);
  }
  end.abort();
});
