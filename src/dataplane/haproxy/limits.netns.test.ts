import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { echoPort, namePort, startRig } from '../../../test/netns/haproxy-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import { withOptions } from '../../../test/make/options.ts';
import { listener, node, tableOf } from '../../../test/make/table.ts';
import { serviceKey } from '../../core/model/names.ts';
import { systemExec } from '../../main/node/exec.ts';

/** Half of the connections that these descriptors allow. */
const capOfTwo = { descriptorLimit: 14 };

test('a Service at its limit gets no more connections, and other Services do', async () => {
  await using rig = await startRig({ nodes: 1 });
  const { proxy } = rig.newDriver(capOfTwo);
  const capped = listener('10.50.0.1', 25, echoPort);
  const another = listener('10.50.0.2', 25, echoPort, { service: serviceKey('test', 'another') });
  await proxy.upsert(rig.table([capped, another]), rig.signal);
  const dial = async (address: string): Promise<() => Promise<string | undefined>> => {
    const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address, port: 25 });
    return async () => {
      const { end, text } = await rig.lab.client.ask({ do: 'heard', id });
      return end === 'open' ? text : end;
    };
  };
  for (let connection = 0; connection < 2; connection++)
    await expect.poll(await dial('10.50.0.1'), patience).toBe('220 n1\n');
  await expect.poll(await dial('10.50.0.1'), patience).toMatch(/ended|reset/);
  await expect.poll(await dial('10.50.0.2'), patience).toBe('220 n1\n');
  const counters = await proxy.counters(rig.signal);
  expect(counters.get(capped.key)).toMatchObject({ connections: 2, total: 3, refused: 1 });
  expect(counters.get(another.key)).toMatchObject({ connections: 1, total: 1 });
});

test('all listeners of a Service share one limit', async () => {
  await using rig = await startRig({ nodes: 1 });
  const { proxy } = rig.newDriver(capOfTwo);
  const both = ['10.50.0.1', 'fd50::1'].map((vip) => listener(vip, 25, echoPort));
  await proxy.upsert(rig.table(both), rig.signal);
  const heard = async (address: string): Promise<() => Promise<string | undefined>> => {
    const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address, port: 25 });
    return async () => {
      const { end, text } = await rig.lab.client.ask({ do: 'heard', id });
      return end === 'open' ? text : end;
    };
  };
  for (const address of ['10.50.0.1', 'fd50::1']) await expect.poll(await heard(address), patience).toBe('220 n1\n');
  await expect.poll(await heard('10.50.0.1'), patience).toMatch(/ended|reset/);
});

test('a Service has the limit of its annotation, and each client its own', async () => {
  await using rig = await startRig({ nodes: 1 });
  const { proxy } = rig.newDriver();
  const { options } = withOptions('10.50.0.1', 25, echoPort, { limits: { connections: 3, clientConnections: 2 } });
  const limited = ['10.50.0.1', 'fd50::1'].map((vip) => listener(vip, 25, echoPort, { options }));
  const other = withOptions('10.50.0.2', 25, echoPort, { limits: { clientConnections: 1 } });
  await proxy.upsert(rig.table([...limited, other]), rig.signal);
  const dial = async (address: string): Promise<unknown> => {
    const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address, port: 25 });
    const hears = async (): Promise<unknown> => {
      const { end, text } = await rig.lab.client.ask({ do: 'heard', id });
      return end === 'open' ? text : 'refused';
    };
    await expect.poll(hears, patience).toMatch(/220 n1|refused/);
    return await hears();
  };
  const answers: unknown[] = [];
  // The second family is another client.
  for (const vip of ['10.50.0.1', '10.50.0.1', '10.50.0.1', 'fd50::1', 'fd50::1']) answers.push(await dial(vip));
  expect(answers).toEqual(['220 n1\n', '220 n1\n', 'refused', '220 n1\n', 'refused']);
  // What a client has at one Service does not count at another.
  expect(await dial('10.50.0.2')).toBe('220 n1\n');
  expect(await dial('10.50.0.2')).toBe('refused');
  const counters = await proxy.counters(rig.signal);
  expect(limited.map(({ key }) => counters.get(key))).toMatchObject([
    { connections: 2, total: 3, refused: 1 },
    { connections: 1, total: 2, refused: 1 },
  ]);
  // Other limits are in force at once.
  const { options: others } = withOptions('10.50.0.1', 25, echoPort, { limits: { connections: 4 } });
  const next = ['10.50.0.1', 'fd50::1'].map((vip) => listener(vip, 25, echoPort, { options: others }));
  await proxy.upsert(rig.table(next), rig.signal);
  expect(await dial('10.50.0.1')).toBe('220 n1\n');
  expect(await dial('10.50.0.1')).toBe('refused');
});

test('the addresses of an IPv6 /64 are one client', async () => {
  await using rig = await startRig({ nodes: 1 });
  const { proxy } = rig.newDriver();
  const limited = withOptions('fd50::1', 25, echoPort, { limits: { clientConnections: 1 } });
  await proxy.upsert(rig.table([limited]), rig.signal);
  const { balancer, client } = rig.lab;
  const others = ['fd10::3', 'fd11::3'];
  await client.ip(...others.map((address) => `address add ${address}/64 dev eth0 nodad`));
  await balancer.ip('route add fd11::/64 dev wan');
  const dialFrom = async (address: string): Promise<unknown> => {
    await client.ip(`route replace fd50::/64 via fd10::1 src ${address}`);
    const { id = 0 } = await client.ask({ do: 'dial', address: 'fd50::1', port: 25 });
    const hears = async (): Promise<unknown> => {
      const { end, text } = await client.ask({ do: 'heard', id });
      return end === 'open' ? text : 'refused';
    };
    await expect.poll(hears, patience).toMatch(/220 n1|refused/);
    return await hears();
  };
  expect(await dialFrom('fd10::2')).toBe('220 n1\n');
  expect(await dialFrom('fd10::3')).toBe('refused');
  expect(await dialFrom('fd11::3')).toBe('220 n1\n');
});

test.each(['rate', 'clientRate'] as const)(
  'new connections beyond the %s are refused, and those within it accepted',
  async (name) => {
    await using rig = await startRig({ nodes: 1 });
    const { proxy } = rig.newDriver();
    const limited = withOptions('10.50.0.1', 80, namePort, { limits: { [name]: 5 } });
    const free = listener('10.50.0.2', 80, namePort);
    await proxy.upsert(rig.table([limited, free]), rig.signal);
    const burst = async (vip: string): Promise<number> => {
      const outcomes = await Promise.all(Array.from({ length: 40 }, () => rig.fetch(vip)));
      return outcomes.filter(({ status }) => status === 200).length;
    };
    const startMs = performance.now();
    const accepted = await burst('10.50.0.1');
    expect(accepted).toBeGreaterThanOrEqual(5);
    expect(accepted).toBeLessThanOrEqual(5 * (2 + (performance.now() - startMs) / 1000));
    expect(await burst('10.50.0.2')).toBe(40);
    expect((await proxy.counters(rig.signal)).get(limited.key)).toMatchObject({ total: 40, refused: 40 - accepted });
    // A client that does not slow down still gets its share.
    const next = async (): Promise<number> => accepted + (await burst('10.50.0.1'));
    await expect.poll(next, patience).toBeGreaterThan(accepted);
  },
);

test('the process starts with as many connections as its descriptors allow, and with many nodes', async () => {
  await using rig = await startRig({ nodes: 1 });
  const { proxy } = rig.newDriver({
    descriptorLimit: 1024,
    exec: {
      ...systemExec,
      run: (file, args, options) => rig.lab.balancer.execPort.run('prlimit', ['--nofile=1024', file, ...args], options),
    },
  });
  const nodes = Array.from({ length: 90 }, (_, index) =>
    node(`node-${index}`, `10.20.0.${100 + index}`, `fd20::1:${index + 1}`),
  );
  const table = tableOf([listener('10.50.0.1', 80, namePort)], nodes);
  await proxy.upsert(table, rig.signal);
  const { maxConnections, pid, servers } = await proxy.observe(rig.signal);
  expect(maxConnections).toBe(384);
  expect(servers).toHaveLength(180);
  // Its workers run with another account, and everything can still be changed.
  expect(await readFile(`/proc/${pid}/status`, 'utf8')).toMatch(/^Uid:\t65534\t65534/m);
  await proxy.upsert(rig.table([listener('10.50.0.1', 80, namePort)]), rig.signal);
  await proxy.prune(rig.table([listener('10.50.0.1', 80, namePort)]), rig.signal);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ text: 'n1' });
});

test('an audit reverts external changes, and counts them', async () => {
  await using rig = await startRig({ nodes: 2 });
  const { proxy } = rig.newDriver();
  const table = rig.table([
    listener('10.50.0.1', 80, namePort),
    listener('10.50.0.2', 80, namePort),
    listener('10.50.0.3', 80, namePort),
  ]);
  await proxy.upsert(table, rig.signal);
  expect(await proxy.audit(table, rig.signal)).toBe(0);
  const map = `${rig.lab.folder}/haproxy/services.map`;
  await rig.command(
    `del map ${map} 10.50.0.1|80`,
    `set map ${map} 10.50.0.2|80 nodes4|1|1`,
    `add map ${map} 10.50.0.9|80 nodes4|30080|9`,
    'set server nodes4/n1 state maint',
    'set server nodes6/n2 state maint',
    'del server nodes6/n2',
  );
  await rig.lab.balancer.exec('rm', map);
  // Three entries, a server set ready, another added (three commands), a file.
  expect(await proxy.audit(table, rig.signal)).toBe(8);
  expect(await proxy.audit(table, rig.signal)).toBe(0);
  for (const vip of ['10.50.0.1', '10.50.0.2', '10.50.0.3'])
    expect(await rig.fetch(vip)).toMatchObject({ status: 200 });
  expect(await rig.fetch('10.50.0.9')).toHaveProperty('error');
});

test('a change that finds externally changed entries compares again and succeeds', async () => {
  await using rig = await startRig({ nodes: 1 });
  const { proxy } = rig.newDriver();
  const map = `${rig.lab.folder}/haproxy/services.map`;
  await proxy.upsert(rig.table([listener('10.50.0.1', 80, 30_001)]), rig.signal);
  await rig.command(`del map ${map} 10.50.0.1|80`);
  await proxy.upsert(rig.table([listener('10.50.0.1', 80, namePort)]), rig.signal);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
});

test('a prune that finds an unknown worker removes no wanted entries', async () => {
  await using rig = await startRig({ nodes: 1 });
  const { proxy } = rig.newDriver();
  const listeners = [listener('10.50.0.1', 80, namePort), listener('10.50.0.2', 80, namePort)];
  await proxy.upsert(rig.table(listeners), rig.signal);
  const { pid } = await proxy.observe(rig.signal);
  const one = rig.table(listeners.slice(0, 1));
  await proxy.upsert(one, rig.signal);
  // Repeated only until the reload, because a master that has just started may lose it.
  const reloaded = async (): Promise<number> => {
    const { pid: present } = await proxy.observe(rig.signal);
    if (present === pid)
      process.kill(Number(await readFile(`${rig.lab.folder}/haproxy/haproxy.pid`, 'utf8')), 'SIGUSR2');
    return present;
  };
  await expect.poll(reloaded, { ...patience, interval: 1000 }).not.toBe(pid);
  await proxy.prune(one, rig.signal);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
  expect(await rig.fetch('10.50.0.2')).toHaveProperty('error');
});

test('five thousand listeners are added and removed in one change each', async () => {
  await using rig = await startRig({ nodes: 1 });
  const { proxy } = rig.newDriver();
  const listeners = Array.from({ length: 5000 }, (_, index) =>
    listener(`10.50.${index >> 8}.${index & 255}`, 80, namePort),
  );
  await proxy.upsert(rig.table([]), rig.signal);
  await proxy.upsert(rig.table(listeners), rig.signal);
  await proxy.prune(rig.table(listeners), rig.signal);
  expect(await proxy.audit(rig.table(listeners), rig.signal)).toBe(0);
  for (const vip of ['10.50.0.0', '10.50.19.135']) expect(await rig.fetch(vip)).toMatchObject({ status: 200 });
  const few = rig.table(listeners.slice(4998));
  await proxy.upsert(few, rig.signal);
  await proxy.prune(few, rig.signal);
  expect(await proxy.audit(few, rig.signal)).toBe(0);
  expect(await rig.fetch('10.50.19.135')).toMatchObject({ status: 200 });
  expect(await rig.fetch('10.50.0.0')).toHaveProperty('error');
});
