import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { test, vi } from 'vitest';
import { endpointSlice } from '../../test/make/endpoint-slice.ts';
import { listener } from '../../test/make/table.ts';
import { startHostRig, webPort } from '../../test/netns/host-rig.ts';
import { startSimApiServer } from '../../test/sim/apiserver.ts';
import { startController } from '../../test/sim/controller-rig.ts';
import type { SimObject } from '../../test/sim/kinds.ts';
import { patience } from '../../test/netns/patience.ts';
import type { Clock } from '../ports/clock.ts';
import type { RunningProgram, Exec } from '../ports/exec.ts';
import { systemClock } from './node/clock.ts';
import { systemExec } from './node/exec.ts';
import { shownIps } from '../../test/sim/shown-status.ts';

const [first, second] = ['10.50.0.1', '10.50.0.2'] as const;
const [served, added] = [listener(first, 80, webPort), listener(second, 80, webPort)];

/** For tests in which nothing is reported: a program that answers late, on a busy machine, would be. */
const patientClock: Clock = { ...systemClock, deadline: (ms, outer) => systemClock.deadline(20 * ms, outer) };

/** Runs a program of the machine itself: mounts. */
const onMachine = (file: string, ...args: readonly string[]): Promise<unknown> =>
  systemExec.run(file, args, { signal: AbortSignal.timeout(10_000) });

test.concurrent('a state directory that becomes read-only: served Services answer on, a new address is served, and all is saved when it is writable again', async ({
  expect,
}) => {
  await using stack = new AsyncDisposableStack();
  const rig = stack.use(
    await startHostRig({
      prepare: (_, stateDir) => onMachine('mount', '-t', 'tmpfs', 'none', stateDir).then(() => undefined),
    }),
  );
  stack.defer(() => onMachine('umount', '--lazy', rig.stateDir).then(() => undefined));
  rig.publish(served);
  await rig.untilAnswers(first);

  // Refused while a file is being written.
  await vi.waitFor(() => onMachine('mount', '-o', 'remount,ro', rig.stateDir), patience);
  rig.publish(served, added);
  await rig.untilAnswers(second);
  const failing = (): readonly string[] => [...rig.log.failures.keys()].toSorted();
  await expect.poll(failing, patience).toEqual(['saving the record of addresses', 'saving the table of listeners']);
  for (let request = 0; request < 10; request++) await rig.answers(first);

  await onMachine('mount', '-o', 'remount,rw', rig.stateDir);
  await expect.poll(failing, { timeout: 60_000 }).toEqual([]); // the record with the next audit
  for (const file of ['placement', 'listeners'])
    expect(await readFile(`${rig.stateDir}/${file}.jsonl`, 'utf8')).toContain(second);
  for (const address of [first, second]) await rig.answers(address);
  expect(rig.agent.troubles()).toEqual([]);
});

test.concurrent('a state directory whose disk is full: served Services answer on, the next one is served, and all is saved when there is room', async ({
  expect,
}) => {
  await using stack = new AsyncDisposableStack();
  const rig = stack.use(
    await startHostRig({
      prepare: (_, stateDir) =>
        onMachine('mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', stateDir).then(() => undefined),
    }),
  );
  stack.defer(() => onMachine('umount', '--lazy', rig.stateDir).then(() => undefined));
  rig.publish(served, added);
  await rig.untilAnswers(second);
  for (const file of ['placement', 'listeners'])
    await expect.poll(() => readFile(`${rig.stateDir}/${file}.jsonl`, 'utf8'), patience).toContain(second);
  const filling = `${rig.stateDir}/filling`;
  await expect(writeFile(filling, Buffer.alloc(2_000_000))).rejects.toThrow('ENOSPC');

  // More than fits in the part of the disk that the file has already.
  const others = Array.from({ length: 100 }, (_, index) => listener(second, 1_000 + index, webPort));
  rig.publish(served, added, ...others);
  await rig.untilAnswers(second, 1_099);
  await rig.answers(first);
  const failures = (): readonly unknown[] =>
    rig.log.lines.flatMap(({ level, message, fields }) =>
      level === 'warn' ? `${message}: ${String(fields['err'])}` : [],
    );
  const full = `cannot write ${rig.stateDir}/listeners.jsonl: no space left on device`;
  const words = `saving the table of listeners failed; retrying: FileError: ${full}`;
  await expect.poll(failures, patience).toEqual([words]);
  expect([...rig.log.failures.keys()]).toEqual(['saving the table of listeners']);

  await rm(filling);
  const saved = async (): Promise<string> => await readFile(`${rig.stateDir}/listeners.jsonl`, 'utf8');
  await expect.poll(saved, patience).toContain(`"port":1099`);
  await expect.poll(() => rig.log.failures.size, patience).toBe(0);
  expect(failures()).toEqual([words]);
});

test.concurrent('HAProxy is replaced by a script that answers and exits: the running one serves on; after its end the starts are paced and said once', async ({
  expect,
}) => {
  let isReplaced = false;
  const starts: number[] = [];
  let script = '';
  await using rig = await startHostRig({
    prepare: async ({ folder }) => {
      script = `${folder}/haproxy`;
      await writeFile(script, '#!/bin/sh\necho "HAProxy version 2.6.12 2026/10/17"\n');
      await chmod(script, 0o755);
    },
    wrap: (exec) => ({
      ...exec,
      run: (file, args, options) => {
        if (file !== 'haproxy' || !isReplaced) return exec.run(file, args, options);
        if (!args.includes('-c')) starts.push(performance.now());
        return exec.run(script, args, options);
      },
    }),
  });
  rig.publish(served);
  await rig.untilAnswers(first);

  isReplaced = true;
  rig.publish(served, added);
  await rig.untilAnswers(second);
  await rig.answers(first);
  expect(starts).toEqual([]);

  const { pid } = await rig.parts.proxy.observe(AbortSignal.timeout(5_000));
  process.kill(pid, 'SIGKILL');
  await expect.poll(() => rig.agent.troubles().join(), patience).toContain('HAProxy');
  await expect.poll(() => starts.length, patience).toBe(2);
  const [one = 0, two = 0] = starts;
  expect(two - one).toBeGreaterThan(1_000);
  const told = (): number => rig.log.lines.filter(({ message }) => message.includes('running HAProxy failed')).length;
  await expect.poll(told, patience).toBe(1);
  const proxyTrouble = (): string | undefined => rig.agent.report().listeners.get(served.key)?.proxyTrouble;
  await expect.poll(proxyTrouble, patience).toMatch(/./);

  isReplaced = false;
  await rig.untilAnswers(first);
  await rig.untilAnswers(second);
  await expect.poll(proxyTrouble, { timeout: 90_000 }).toBeUndefined(); // after 30 s without an end
});

test.concurrent('an interface that is renamed: the addresses that are served on it answer again', async ({
  expect,
}) => {
  await using rig = await startHostRig();
  const [onLink, onLink6] = ['10.10.0.50', 'fd10::50'];
  rig.publish(served, listener(onLink, 80, webPort), listener(onLink6, 80, webPort));
  await rig.untilAnswers(first);
  await rig.untilAnswers(onLink);
  const { balancer, client } = rig.lab;
  const answers6 = (): Promise<unknown> => client.exec('ping', '-q', '-c', '1', '-W', '1', onLink6);
  await vi.waitFor(answers6, patience);
  await balancer.exec('ip', 'link', 'set', 'wan', 'down');
  await balancer.exec('ip', 'link', 'set', 'wan', 'name', 'wan9');
  await balancer.exec('ip', 'link', 'set', 'wan9', 'up');
  await balancer.exec('ip', 'address', 'replace', 'fd10::1/64', 'dev', 'wan9', 'nodad'); // the kernel has removed it
  for (const address of [onLink, first]) await rig.untilAnswers(address);
  await vi.waitFor(answers6, patience);
  await expect.poll(() => rig.agent.troubles(), patience).toEqual([]);
});

test.concurrent('a process of another user on the port: it is named and left alone, and all is served when it ends; it cannot take the port from HAProxy', async ({
  expect,
}) => {
  const listen =
    "require('node:net').createServer().on('error', ({ code }) => console.log(code)).listen(292, '127.0.0.1', () => console.log('listening'))";
  const nobody = ['--reuid', '65534', '--regid', '65534', '--clear-groups', process.execPath, '-e', listen];
  const take = (exec: Exec, signal: AbortSignal): RunningProgram => exec.spawn('setpriv', nobody, signal);
  const end = new AbortController();
  await using rig = await startHostRig({
    prepare: async ({ balancer }) => {
      await balancer.exec('sysctl', '-qw', 'net.ipv4.ip_unprivileged_port_start=0');
      expect(await firstLine(take(balancer.execPort, end.signal))).toBe('listening');
    },
  });
  rig.publish(served);
  await expect
    .poll(() => rig.agent.troubles().filter((words) => words.includes('port')), patience)
    .toEqual([expect.stringMatching(/port 292 of 127\.0\.0\.1 is held by \S+ \(PID \d+\): stop it/)]);
  expect(await rig.fetch(first)).not.toBe('n1');
  end.abort();
  await rig.untilAnswers(first);

  const later = new AbortController();
  expect(await firstLine(take(rig.lab.balancer.execPort, later.signal))).toBe('EADDRINUSE');
  for (let request = 0; request < 10; request++) await rig.answers(first);
});

test.concurrent.for([3_600_000, -3_600_000])(
  'the wall clock jumps by %d ms: served Services answer, changes continue, and nothing is reported',
  async (byMs, { expect }) => {
    let offsetMs = 0;
    const clock: Clock = { ...patientClock, now: () => Date.now() + offsetMs };
    await using rig = await startHostRig({ clock });
    rig.publish(served);
    await rig.untilAnswers(first);
    const lines = rig.log.lines.length;
    offsetMs = byMs;
    rig.publish(served, added);
    await rig.untilAnswers(second);
    await rig.answers(first);
    await expect.poll(() => rig.agent.troubles(), patience).toEqual([]);
    expect(rig.log.lines.slice(lines).filter(({ level }) => level === 'warn' || level === 'error')).toEqual([]);
  },
);

test.concurrent('nft refuses each tenth change: the controller publishes all Services, and one that is served answers on', async ({
  expect,
}) => {
  let changes = 0;
  let refusals = 0;
  const each = (text: string): string => {
    if (++changes % 10 !== 0) return text;
    refusals++;
    return text.replaceAll('inet furiwake', 'inet missing');
  };
  await using rig = await startHostRig({
    clock: patientClock,
    wrap: (exec) => ({
      ...exec,
      run: (file, args, { stdin, ...options }) =>
        exec.run(
          file,
          args,
          stdin === undefined ? options : { ...options, stdin: file === 'nft' ? each(stdin) : stdin },
        ),
      spawn: (file, args, signal) => {
        const program = exec.spawn(file, args, signal);
        if (!args.includes('nft')) return program;
        const write: RunningProgram['write'] = (text) => program.write(each(text));
        return { ...program, write };
      },
    }),
  });
  await using server = await startSimApiServer({ seed: 1 });
  server.put('Node', {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '10.20.0.11' }] },
  });
  await using _controller = await startController(
    server,
    { link: rig.agent, ports: rig.parts },
    { addresses: ['10.50.0.1-10.50.0.40'] },
  );
  const names = Array.from({ length: 40 }, (_, index) => `s${index}`);
  for (const name of names) {
    server.put('EndpointSlice', endpointSlice(name));
    server.put('Service', makeWire(name));
    await expect.poll(() => shownIps(server, `default/${name}`), patience).toHaveLength(1);
    await rig.answers(first);
  }
  expect(refusals).toBeGreaterThanOrEqual(4);
  // furiwake sends a refused change again as a whole: nothing fails for the Services.
  expect(rig.log.lines.filter(({ level }) => level === 'warn' || level === 'error')).toEqual([]);
  for (const name of names) await rig.untilAnswers(shownIps(server, `default/${name}`)[0] ?? '');
  await expect.poll(() => rig.agent.troubles(), patience).toEqual([]);
});

function makeWire(name: string): SimObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default' },
    spec: {
      type: 'LoadBalancer',
      ipFamilies: ['IPv4'],
      ports: [{ port: 80, protocol: 'TCP', nodePort: webPort }],
    },
  };
}

async function firstLine({ lines }: RunningProgram): Promise<string | undefined> {
  for await (const line of lines) return line;
  return undefined;
}
