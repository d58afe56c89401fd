import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addressesAnnotation } from './harness/contract.ts';
import { webPort } from './harness/backends.ts';
import { eventually } from './harness/eventually.ts';
import { fetchFrom, fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
import { haproxyFolder } from './harness/furiwake.ts';
import { isRoot, useStage } from './harness/stage.ts';
import type { Service } from './harness/services.ts';
import { startTraffic, type Traffic } from './harness/traffic.ts';

/** A word that occurs in no configuration, command or name: if it is found there, user input was not filtered. */
const trace = 'pwned';

const texts: readonly (readonly [string, string])[] = [
  ['a new line', `192.0.2.51\n    acl ${trace}`],
  ['an end of a runtime command', `192.0.2.51;shutdown sessions ${trace}`],
  ['quotes', `"'${trace}\\`],
  ['a sample expression', `%[env(${trace})]`],
  ['an option', `--${trace}`],
  ['a shell', `$(touch /tmp/${trace})`],
  ['an nft command', `192.0.2.51 } ; flush ruleset ; # ${trace}`],
  ['NUL', `192.0.2.51\u0000${trace}`],
  ['a control character', `${trace}\u0001\u001B[31m`],
  ['a range of 2^128', '::/0'],
  ['a range of 2^32', '0.0.0.0/0'],
  ['a thousand commas', ','.repeat(1000)],
  ['250 kB', `192.0.2.51${trace}`.repeat(17_000).slice(0, 250_000)],
];

describe.skipIf(!isRoot)('user input', () => {
  const stage = useStage();
  let traffic: Traffic | undefined;

  beforeAll(async () => {
    const { services, client, lb1 } = stage();
    await services.create('bystander', { stays: true, spec: { ports: [{ port: 9000, targetPort: webPort }] } });
    await services.published('bystander');
    await untilAnswer(client, urlOf(lb1.ip4, 9000), fromWeb);
    traffic = await startTraffic(client, urlOf(lb1.ip4, 9000));
  });

  afterAll(async () => traffic?.[Symbol.asyncDispose]());

  /** No other Service was affected, and no daemon reads the text. */
  async function isHarmless(): Promise<void> {
    const { lb1, furiwake } = stage();
    expect(await traffic?.after(5)).toMatchObject({ failed: 0, broken: 0 });
    expect(furiwake.isRunning()).toBe(true);
    const everything = await lb1
      .exec(['sh', '-c', `grep -raoc ${trace} ${haproxyFolder}`])
      .catch(() => ({ stdout: '' }));
    expect(everything.stdout.split('\n').filter((line) => line !== '' && !line.endsWith(':0'))).toEqual([]);
    expect((await lb1.exec(['nft', 'list', 'ruleset'])).stdout).not.toContain(trace);
    await lb1.exec(['sh', '-c', `haproxy -c -f ${haproxyFolder}/haproxy.cfg`]);
  }

  test.each(texts)('into the annotation of addresses (%s) is answered on the Service itself', async (_, text) => {
    const { services } = stage();
    await services.create('hostile', { annotations: { [addressesAnnotation]: text } });
    const { message } = await services.condition('hostile', 'AddressAssigned', 'InvalidRequest');
    expect(message.length).toBeLessThan(200);
    expect(message).toMatch(/^[\u0020-\u007E…]*$/);
    await isHarmless();
  });

  test('into spec.loadBalancerIP is answered on the Service itself', async () => {
    const { services } = stage();
    await services.create('hostile', { spec: { loadBalancerIP: `192.0.2.51\n${trace} %[src] "'` } });
    expect(await services.condition('hostile', 'AddressAssigned', 'InvalidRequest')).toMatchObject({ status: 'False' });
    await isHarmless();
  });

  test('into source ranges: huge, overlapping and very many ones are honoured', async () => {
    const { services, client, lanclient, lb1 } = stage();
    const many = Array.from({ length: 2000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/25`);
    await services.create('ranges', { spec: { loadBalancerSourceRanges: [...many, '192.0.2.0/24', '192.0.2.0/25'] } });
    await services.published('ranges');
    await untilAnswer(lanclient, urlOf(lb1.ip4), fromWeb);
    expect(await fetchFrom(client, urlOf(lb1.ip4), 1)).toBe('silence');
    await services.change('ranges', { spec: { loadBalancerSourceRanges: ['0.0.0.0/0', '::/0'] } });
    await untilAnswer(client, urlOf(lb1.ip4), fromWeb);
    await isHarmless();
  });

  test('names of 63 characters in a namespace of 63 characters are served', async () => {
    const { cluster, client, lb1, services } = stage();
    const long = 'n'.repeat(63);
    const path = `/api/v1/namespaces/${long}`;
    await cluster.create('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: long } });
    await cluster.create(`${path}/services`, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: long },
      spec: { type: 'LoadBalancer', ports: [{ port: 8063, name: 'p'.repeat(63) }] },
    });
    await eventually(async () => {
      const { status } = await cluster.get<Service>(`${path}/services/${long}`);
      expect(status.loadBalancer.ingress).toMatchObject([{ ip: lb1.ip4, ports: [{ port: 8063 }] }]);
    });
    expect(await fetchFrom(client, urlOf(lb1.ip4, 8063))).toBe('refused'); // no Pod
    await services.create('conflicts', { spec: { ports: [{ port: 8063 }] } });
    const { message } = await services.condition('conflicts', 'AddressAssigned', 'PortConflict');
    expect(message).toContain('a Service of another namespace'); // whose name is not for this one to read
    await isHarmless();
    await cluster.remove(path);
    // Kubernetes empties a namespace with a delay.
    expect(await eventually(() => services.published('conflicts'), 120_000)).toEqual([lb1.ip4]);
  });
});
