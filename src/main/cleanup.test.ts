import { expect, test } from 'vitest';
import { makeMachine, makeOptions } from '../../test/make/machine.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { cleanup } from './cleanup.ts';
import { makeMetrics } from './node/metrics.ts';

test('cleanup asks nothing of the host without root', async () => {
  const deps = {
    version: '1.2.3',
    machine: makeMachine({ isRoot: false }),
    log: recordLog(),
    metrics: makeMetrics(),
    onReload: () => undefined,
  };
  await expect(cleanup(makeOptions(), false, deps, new AbortController().signal)).rejects.toMatchObject({
    code: 'START',
    message: 'furiwake cleanup needs root: it removes nftables rules, routes and addresses from this host',
  });
});
