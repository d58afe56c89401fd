import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { echoPort, namePort, startRig } from '../../../test/netns/haproxy-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import { listener } from '../../../test/make/table.ts';

test('listeners are added, changed and removed in one process, in both families, while a connection of another one continues', async () => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  const { proxy } = driver;
  const steady = listener('10.50.0.1', 25, echoPort);
  const first = rig.table([steady]);
  await proxy.upsert(first, rig.signal);
  await proxy.prune(first, rig.signal);
  const { pid } = await proxy.observe(rig.signal);
  const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: '10.50.0.1', port: 25 });
  await expect
    .poll(() => rig.lab.client.ask({ do: 'heard', id }), patience)
    .toMatchObject({ text: expect.stringMatching(/^220 n[12]\n$/) });

  expect(await rig.fetch('10.50.0.2')).toHaveProperty('error');
  const second = rig.table([steady, listener('10.50.0.2', 80, namePort), listener('fd50::2', 80, namePort)]);
  await proxy.upsert(second, rig.signal);
  await proxy.prune(second, rig.signal);
  expect(await rig.fetch('10.50.0.2')).toMatchObject({ status: 200, text: expect.stringMatching(/^n[12]$/) });
  expect(await rig.fetch('fd50::2')).toMatchObject({ status: 200, text: expect.stringMatching(/^n[12]$/) });

  const third = rig.table([steady, listener('10.50.0.2', 80, 30_081)]);
  await proxy.upsert(third, rig.signal);
  expect(await rig.fetch('10.50.0.2')).toHaveProperty('error');
  expect(await rig.fetch('fd50::2')).toMatchObject({ status: 200 });
  await proxy.prune(third, rig.signal);
  expect(await rig.fetch('fd50::2')).toHaveProperty('error');

  await rig.lab.client.ask({ do: 'say', id, text: 'still there\n' });
  await expect
    .poll(() => rig.lab.client.ask({ do: 'heard', id }), patience)
    .toMatchObject({ text: expect.stringMatching(/still there/), end: 'open' });
  expect((await proxy.observe(rig.signal)).pid).toBe(pid);
  driver.watch();
  const lines = async (): Promise<readonly string[]> => {
    const map = await readFile(`${rig.lab.folder}/haproxy/services.map`, 'utf8');
    return map
      .split('\n')
      .map((line) => line.replace(/\|[0-9a-f]{16}$/, ''))
      .toSorted();
  };
  await expect
    .poll(lines, patience)
    .toEqual(['', '10.50.0.1|25 nodes4|30025|4294967296', '10.50.0.2|80 nodes4|30081|4294967296']);
  await proxy.stop(rig.signal);
  await expect(proxy.observe(rig.signal)).rejects.toThrow('worker.sock');
});
