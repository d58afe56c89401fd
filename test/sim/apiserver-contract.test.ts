import { apiServerContract } from '../contract/api-server.ts';
import { makeSimApiServer, type SimApiServer, type SimOptions, startSimApiServer } from './apiserver.ts';
import { connect } from './harness.ts';
import { recordLog, recordMetrics } from './observers.ts';
import { fastClock } from './virtual-clock.ts';

apiServerContract('the simulated one', () => makeScene(startSimApiServer));
apiServerContract('the simulated one, in the process of its clients', () => makeScene(makeSimApiServer));

async function makeScene(
  make: (options: SimOptions) => SimApiServer | Promise<SimApiServer>,
): ReturnType<Parameters<typeof apiServerContract>[1]> {
  const clock = fastClock(10);
  const server = await make({ seed: 1, clock });
  const refusing = await make({ seed: 1, clock });
  refusing.faults.next({ mishap: { answer: 403 }, times: Number.POSITIVE_INFINITY });
  const clientOf = (to: SimApiServer): ReturnType<typeof connect> =>
    connect({
      files: new Map([['/config', to.kubeconfig()]]),
      clock,
      log: recordLog(),
      metrics: recordMetrics(),
      random: () => 0,
      connect: to.connect,
    });
  const [client, withoutRights] = [await clientOf(server), await clientOf(refusing)];
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
}
