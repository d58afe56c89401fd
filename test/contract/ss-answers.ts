import { describe, expect, test } from 'vitest';
import { findPortHolders, holderWords } from '../../src/daemon/port-holders.ts';
import { listenPort } from '../../src/dataplane/haproxy/config/config.ts';
import { makePortOwners, type PortOwners, systemKill } from '../../src/dataplane/haproxy/process/port-owners.ts';
import { makeHost } from '../../src/host/host.ts';
import { systemClock } from '../../src/main/node/clock.ts';
import type { Exec } from '../../src/ports/exec.ts';
import type { Files } from '../../src/ports/files.ts';
import type { Host } from '../../src/ports/host.ts';
import { silent } from '../make/log.ts';
import { listener } from '../make/table.ts';

/** A host on which only a HAProxy of furiwake listens, which has no connections; before its start, and after it. */
export type SsScene = AsyncDisposable & {
  readonly exec: Exec;
  readonly files: Files;
  /** Of HAProxy's files. */
  readonly folder: string;
  start(): Promise<void>;
};

const { signal } = new AbortController();
const [four, six] = [listener('10.50.0.1', 80, 30_080), listener('fd50::1', 80, 30_080)];

type Readers = {
  readonly scene: SsScene;
  readonly owners: PortOwners;
  readonly host: Host;
  /** The programs on a port of 127.0.0.1. */
  readonly holders: (port: number) => Promise<readonly string[]>;
};

const sentences: Readonly<Record<string, (readers: Readers) => Promise<void>>> = {
  'a host without sockets has empty answers, and no error': async ({ scene, owners, host, holders }) => {
    expect(await owners.find(signal)).toEqual([]);
    expect(await owners.mastersOf([scene.folder], signal)).toEqual([]);
    expect(await host.listening(signal)).toEqual([]);
    expect(await holders(listenPort)).toEqual([]);
  },
  'the sockets of HAProxy are listed with its process': async ({ scene, owners, host, holders }) => {
    await scene.start();
    const found = await owners.find(signal);
    const master = expect.any(Number);
    expect(found).toEqual([{ name: 'haproxy', pid: expect.any(Number), haproxy: { folder: scene.folder, master } }]);
    expect(await owners.mastersOf([scene.folder], signal)).toEqual([found[0]?.haproxy?.master]);
    expect(await owners.mastersOf(['/elsewhere'], signal)).toEqual([]);
    const listening = await host.listening(signal);
    for (const text of ['127.0.0.1', '::1'])
      expect(listening.filter(({ address }) => address?.text === text)).toEqual([
        expect.objectContaining({ protocol: 'TCP', port: listenPort }),
      ]);
    expect(listening.filter(({ protocol }) => protocol === 'UDP')).toEqual([]);
    expect(await holders(listenPort)).toEqual([`haproxy (PID ${found[0]?.pid})`]);
    expect(await holders(listenPort + 1)).toEqual([]);
  },
  'listeners without connections have empty answers, also when these are to be ended': async ({ scene, host }) => {
    await scene.start();
    expect(await host.clientsOf([four, six], signal)).toEqual(new Map());
    await host.endConnections([four, six], signal);
    await host.endConnections([four, six], signal, () => true);
    const many = Array.from({ length: 250 }, (_, index) => listener('10.50.0.1', 1_000 + index, 30_080));
    await host.endConnections(many, signal);
  },
};

/** The contract of `ss`, for the real one and those in memory. */
export function ssAnswersContract(name: string, makeScene: () => Promise<SsScene>): void {
  describe(`ss ${name}`, () => {
    test.each(Object.entries(sentences))('%s', async (_, say) => {
      await using scene = await makeScene();
      const { exec, files } = scene;
      const holders: Readers['holders'] = async (port) =>
        (await findPortHolders('127.0.0.1', port, exec, signal)).flatMap((each) => each.map(holderWords));
      const owners = makePortOwners({ exec, files, clock: systemClock, kill: systemKill });
      const said = say({ scene, owners, host: makeHost({ exec, log: silent }), holders });
      await expect(said).resolves.toBeUndefined();
    });
  });
}
