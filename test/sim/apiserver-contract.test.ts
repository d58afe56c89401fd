import { apiServerContract } from '../contract/api-server.ts';
import { startSimApiServer } from './apiserver.ts';
import { connect } from './harness.ts';
import { recordLog, recordMetrics } from './observers.ts';
import { fastClock } from './virtual-clock.ts';

apiServerContract('the simulated one', async () => {
  const server = await startSimApiServer({ seed: 1, timeFactor: 10 });
  const refusing = await startSimApiServer({ seed: 1 });
  refusing.faults.next({ mishap: { answer: 403 }, times: Number.POSITIVE_INFINITY });
  const clientOf = (kubeconfig: string): ReturnType<typeof connect> =>
    connect({
      files: new Map([['/config', kubeconfig]]),
      clock: fastClock(10),
      log: recordLog(),
      metrics: recordMetrics(),
      random: () => 0,
    });
  const [client, withoutRights] = [await clientOf(server.kubeconfig()), await clientOf(refusing.kubeconfig())];
  server.put('Namespace', { metadata: { name: 'contract' } });
  return {
    client,
    withoutRights,
    namespace: 'contract',
    forgottenVersion: async () => {
      const { resourceVersion = '' } = server.put('Service', {
        metadata: { namespace: 'contract', name: 'old' },
      }).metadata;
      server.remove('Service', 'contract/old');
      server.faults.restart();
      return resourceVersion;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all([client, withoutRights].map((each) => each.close()));
      await Promise.all([server, refusing].map((each) => each[Symbol.asyncDispose]()));
    },
  };
});
