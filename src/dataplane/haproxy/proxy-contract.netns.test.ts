import { mkdir, readFile, rmdir } from 'node:fs/promises';
import { vi } from 'vitest';
import { proxyContract } from '../../../test/contract/proxy.ts';
import { namePort, startRig } from '../../../test/netns/haproxy-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import { entryKey } from './config/entries.ts';

proxyContract('HAProxy in a network namespace', async () => {
  const rig = await startRig({ nodes: 1 });
  const folder = `${rig.lab.folder}/haproxy`;
  const { proxy } = rig.newDriver();
  let worker = 0;
  return {
    proxy,
    table: (listeners) => rig.table(listeners),
    targetPort: namePort,
    serves: async ({ address, port }) => {
      // Without a listener on HAProxy's port packets are lost.
      const call = { do: 'fetch', address: address.text, port, timeoutMs: 1000 } as const;
      return (await rig.lab.client.ask(call)).status === 200;
    },
    die: async () => {
      process.kill(Number(await readFile(`${folder}/haproxy.pid`, 'utf8')), 'SIGKILL');
      await vi.waitFor(async () => {
        if ((await rig.masters()) > 0) throw new Error('HAProxy still runs');
      }, patience);
    },
    remove: (listener) => rig.command(`del map ${folder}/services.map ${entryKey(listener)}`),
    hang: async (isHanging) => {
      if (isHanging) ({ pid: worker } = await proxy.observe(AbortSignal.timeout(5_000)));
      process.kill(worker, isHanging ? 'SIGSTOP' : 'SIGCONT');
    },
    preventStarts: async (isPrevented) => {
      const port = { address: '127.0.0.1', port: 292 };
      await rig.lab.balancer.ask(isPrevented ? { do: 'serveHttp', body: '', ...port } : { do: 'unlisten', ...port });
    },
    preventReloads: async (isPrevented) => {
      const candidate = `${folder}/candidate.cfg`; // of a folder, HAProxy can check no configuration
      await (isPrevented ? mkdir(candidate) : rmdir(candidate));
    },
    [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose](),
  };
});
