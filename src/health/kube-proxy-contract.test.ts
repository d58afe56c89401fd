import { kubeProxyContract } from '../../test/contract/kube-proxy.ts';
import { makeFakeKubeProxy } from '../../test/make/fake-kube-proxy.ts';
import { directListener } from '../../test/make/table.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';

kubeProxyContract('in memory', async () => {
  const clock = virtualClock();
  const kubeProxy = makeFakeKubeProxy(clock, { lagMs: 5, syncMs: 20, loopMs: 5, listMs: 50 });
  const { key } = directListener('203.0.113.10', 80);
  let isPublished = false;
  return {
    kubeProxy,
    clock,
    publish: async () => {
      isPublished = !isPublished;
      kubeProxy.change(key, isPublished);
    },
    restart: () => kubeProxy.restart(300),
    drive: (promise) => clock.drive(promise),
    [Symbol.asyncDispose]: async () => kubeProxy.close(),
  };
});
