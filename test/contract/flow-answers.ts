import { describe, expect, test } from 'vitest';
import type { BackendId } from '../../src/core/model/names.ts';
import { PersistentMap } from '../../src/core/persistent-map.ts';
import { endStaleFlows, tryConntrack } from '../../src/dataplane/nat/flows.ts';
import { parseFlowRoom } from '../../src/dataplane/nat/flow-room.ts';
import { natRules, natTable } from '../../src/dataplane/nat/ruleset.ts';
import { countElements } from '../../src/dataplane/nftables/count-elements.ts';
import { readFlowClients } from '../../src/dataplane/nftables/nat-clients.ts';
import { renderTable } from '../../src/dataplane/nftables/table-text.ts';
import type { Exec } from '../../src/ports/exec.ts';
import { natListener } from '../make/table.ts';

/** The programs of a host without flows and tables. */
export type FlowScene = AsyncDisposable & { readonly exec: Exec };

const { signal } = new AbortController();
const listeners = [natListener('10.50.0.1', 53, 30_053), natListener('fd50::1', 53, 30_053)];
const byKey = PersistentMap.from(listeners.map((each) => [each.key, each]));

/** The contract of the questions to conntrack and to the sets that `nat` fills. Flows are tested in network namespaces only. */
export function flowAnswersContract(name: string, makeScene: () => Promise<FlowScene>): void {
  describe(`questions about flows, ${name}`, () => {
    test('a host without flows has none to end, and no clients', async () => {
      await using scene = await makeScene();
      const { exec } = scene;
      const places = { members: new Map(), hosted: PersistentMap.empty<BackendId, never[]>(), lost: [] };
      await expect(tryConntrack(exec, signal)).resolves.toBeUndefined();
      for (const isWhole of [true, false])
        expect(await endStaleFlows(exec, { listeners: byKey, places, changed: byKey, isWhole }, signal)).toBe(0);
      expect(await readFlowClients(exec, listeners, signal)).toEqual(new Map());
    });

    test('conntrack has room, and the table of nat no clients', async () => {
      await using scene = await makeScene();
      const { exec } = scene;
      const folder = '/proc/sys/net/netfilter';
      const files = [`${folder}/nf_conntrack_count`, `${folder}/nf_conntrack_max`, '/proc/net/stat/nf_conntrack'];
      const { stdout } = await exec.run('perl', ['-ne', 'print', ...files], { signal });
      const room = parseFlowRoom(stdout);
      expect(room.most).toBeGreaterThan(room.flows);
      expect(room.dropped).toBe(0);
      await exec.run('nft', ['--file', '-'], { stdin: renderTable(natTable, [], 1, natRules), signal });
      const { clients4, clients6 } = await countElements(exec, natTable, ['clients4', 'clients6'], signal);
      expect([clients4, clients6]).toEqual([0, 0]);
    });
  });
}
