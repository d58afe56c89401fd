import { describe, expect, test } from 'vitest';
import { directRules, directTable } from '../../src/dataplane/direct/table/ruleset.ts';
import { natRulesWithHost, natTable } from '../../src/dataplane/nat/ruleset.ts';
import { type Element, elementKey } from '../../src/dataplane/nftables/element.ts';
import { listSets } from '../../src/dataplane/nftables/list-sets.ts';
import { decodeListing } from '../../src/dataplane/nftables/listing.ts';
import { steeringRules, steeringTable } from '../../src/dataplane/nftables/ruleset.ts';
import { holdsGeneration, makeNftSession } from '../../src/dataplane/nftables/session.ts';
import { renderChange, renderRefill, renderTable, type TableSpec } from '../../src/dataplane/nftables/table-text.ts';
import { systemClock } from '../../src/main/node/clock.ts';
import { type Exec, ExecError } from '../../src/ports/exec.ts';
import { anElementOfEach } from './nft-elements.ts';

/** The programs of a host without a table. */
export type NftScene = AsyncDisposable & { readonly exec: Exec };

const { signal } = new AbortController();
const rules = {
  [steeringTable.name]: steeringRules({ hasOwnAddresses: false, isBridgeFiltered: false, hasFormerNat: false }),
  [natTable.name]: natRulesWithHost,
  [directTable.name]: directRules(['lo'], 10_800),
};

/** What furiwake says to nft about a table. */
function makeDialogue(exec: Exec, table: TableSpec) {
  const run = async (args: readonly string[], stdin?: string): Promise<string> => {
    const result = await exec
      .run('nft', args, { signal, ...(stdin !== undefined && { stdin }) })
      .catch((error: unknown) => error as ExecError);
    if (!(result instanceof ExecError)) return result.stdout;
    expect(result.exitCode).toBe(1);
    return /^[^E]*(Error: .*)/.exec(result.stderr)?.[1] ?? result.stderr;
  };
  const list = (...args: readonly string[]): Promise<string> => run(['--json', ...args]);
  const text = rules[table.name] ?? '';
  const session = makeNftSession({ table, exec, clock: systemClock, lifetime: signal });
  return {
    list,
    /** Empty: it is in force. */
    send: (script: string) => run(['--file', '-'], script),
    write: (generation: number, ...elements: readonly Element[]) =>
      run(['--file', '-'], renderTable(table, elements, generation, text)),
    refill: (generation: number, ...elements: readonly Element[]) =>
      run(['--file', '-'], renderRefill(table, elements, generation, text)),
    change: (from: number, to: number, change: { add?: readonly Element[]; remove?: readonly Element[] }) =>
      run(['--file', '-'], `${renderChange(table, { add: [], remove: [], ...change }, from, to)}\n`),
    commit: async (from: number, to: number, change: { add?: readonly Element[]; remove?: readonly Element[] }) =>
      await session.commit(renderChange(table, { add: [], remove: [], ...change }, from, to), to, signal).then(
        () => '',
        (error: unknown) => (error as Error).message,
      ),
    hasGeneration: async (generation: number) =>
      holdsGeneration(await list('list', 'set', ...table.name.split(' '), 'generation'), generation),
    elements: async (sets: readonly string[] = Object.keys(table.sets)) => {
      const listings = await listSets(exec, table, sets, signal, ['--stateless']);
      return listings.flatMap((json) => [...decodeListing(json, table).elements]).sort();
    },
    skeleton: async () =>
      decodeListing(await list('--stateless', '--terse', 'list', 'ruleset', 'inet'), table).skeleton,
  };
}

type Dialogue = ReturnType<typeof makeDialogue>;

const listener: Element = { set: 'listeners4', text: '192.0.2.1 . 80 : 292' };
const vip: Element = { set: 'vips4', text: '192.0.2.1' };
const source = (text: string): Element => ({ set: 'sources4', text });
const missing = 'Error: Could not process rule: No such file or directory';
const exists = 'Error: Could not process rule: File exists';

/** What furiwake relies on, of the table in front of HAProxy. */
const sentences: Readonly<Record<string, (nft: Dialogue) => Promise<void>>> = {
  'a missing table is listed as an error, but not by a list of all; it can be deleted': async (nft) => {
    expect(await nft.list('--stateless', 'list', 'table', 'inet', 'furiwake')).toBe('Error: No such file or directory');
    expect(await nft.list('list', 'set', 'inet', 'furiwake', 'generation')).toBe('Error: No such file or directory');
    expect(await nft.skeleton()).toBe('[]');
    expect(await nft.elements()).toEqual([]);
    expect(await nft.send('table inet furiwake\ndelete table inet furiwake\n')).toBe('');
    expect(await nft.commit(1, 2, {})).toContain('No such file or directory');
  },
  'a change is refused as a whole if the generation is another one': async (nft) => {
    await nft.write(1, vip);
    expect(await nft.change(2, 3, { add: [listener] })).toBe(missing);
    expect(await nft.commit(2, 3, { add: [listener] })).toContain(missing);
    expect([await nft.hasGeneration(1), await nft.elements()]).toEqual([true, [elementKey(vip)]]);
    expect(await nft.commit(1, 2, { add: [listener] })).toBe('');
    expect(await nft.change(2, 3, { remove: [vip] })).toBe('');
    expect([await nft.hasGeneration(3), await nft.elements()]).toEqual([true, [elementKey(listener)]]);
  },
  'a change is refused as a whole if an element that it removes is missing': async (nft) => {
    await nft.write(1, vip);
    expect(await nft.change(1, 2, { remove: [vip, listener] })).toBe(missing);
    expect(await nft.elements()).toEqual([elementKey(vip)]);
  },
  'a key of a map has one value, which a change can replace': async (nft) => {
    await nft.write(1, listener);
    const other = { ...listener, text: '192.0.2.1 . 80 : 293' };
    expect(await nft.change(1, 2, { add: [other] })).toBe(exists);
    expect(await nft.change(1, 2, { remove: [listener], add: [other] })).toBe('');
    expect(await nft.elements()).toEqual([elementKey(other)]);
    expect(await nft.write(3, listener, other)).toBe(exists);
  },
  'the ranges of a list do not overlap; a change can replace one by others within or around it': async (nft) => {
    await nft.write(1, source('0:1 . 10.0.0.0-10.255.255.255'));
    expect(await nft.change(1, 2, { add: [source('0:1 . 10.1.0.0-10.1.255.255')] })).toBe(exists);
    expect(await nft.change(1, 2, { add: [source('0:1 . 9.0.0.0-10.0.0.0')] })).toBe(exists);
    expect(await nft.change(1, 2, { add: [source('0:2 . 10.1.0.0-10.1.255.255')] })).toBe('');
    const [wide, narrow] = [source('0:1 . 10.0.0.0-10.255.255.255'), source('0:1 . 10.1.0.0-10.1.255.255')];
    expect(await nft.change(2, 3, { remove: [wide], add: [narrow, source('0:1 . 10.9.9.9')] })).toBe('');
    expect(await nft.change(3, 4, { remove: [narrow, source('0:1 . 10.9.9.9')], add: [wide] })).toBe('');
    expect(await nft.elements()).toEqual([wide, source('0:2 . 10.1.0.0-10.1.255.255')].map(elementKey));
  },
  'a number in a set of ranges is removed as a range': async (nft) => {
    await nft.write(1, source('0:1 . 10.0.0.1'), source('0:1 . 10.0.0.2'));
    expect(await nft.send('delete element inet furiwake sources4 { 0:1 . 10.0.0.1 }\n')).toBe(missing);
    expect(await nft.change(1, 2, { remove: [source('0:1 . 10.0.0.1')] })).toBe('');
    expect(await nft.elements()).toEqual([elementKey(source('0:1 . 10.0.0.2'))]);
  },
  'a whole table that is refused leaves the former one': async (nft) => {
    await nft.write(1, vip);
    expect(await nft.write(2, source('0:1 . 10.0.0.0-10.0.0.9'), source('0:1 . 10.0.0.5'))).toMatch(/^Error: /);
    expect([await nft.hasGeneration(1), await nft.elements()]).toEqual([true, [elementKey(vip)]]);
  },
  'chains, rules and sets are listed alike after a change, and otherwise when they are written again': async (nft) => {
    await nft.write(1, vip);
    const before = await nft.skeleton();
    await nft.change(1, 2, { add: [listener] });
    expect(await nft.skeleton()).toBe(before);
    await nft.write(2, vip, listener);
    expect(await nft.skeleton()).not.toBe(before);
  },
  'the wanted sets are listed, those that exist': async (nft) => {
    await nft.write(1, vip, listener);
    expect(await nft.elements(['nosuch4', 'vips4', 'vips6'])).toEqual([elementKey(vip)]);
  },
  'a table is filled again if it exists, with the same declarations': async (nft) => {
    expect(await nft.refill(1, vip)).toBe('Error: No such file or directory');
    await nft.write(1, vip);
    expect(await nft.refill(2, listener)).toBe('');
    expect([await nft.hasGeneration(2), await nft.elements()]).toEqual([true, [elementKey(listener)]]);
    expect(await nft.refill(3, listener, { ...listener, text: '192.0.2.1 . 80 : 293' })).toBe(exists);
    expect(await nft.hasGeneration(2)).toBe(true);
    await nft.send('table inet furiwake\ndelete table inet furiwake\n');
    await nft.send('table inet furiwake {\n\tset generation { type mark; }\n\tset vips4 { type ipv6_addr; }\n}\n');
    expect(await nft.refill(4, vip)).toMatch(/^Error: /);
    expect(await nft.write(4, vip)).toBe('');
  },
};

/** The contract of `nft`, for the real one and the one in memory. */
export function nftCommandsContract(name: string, makeScene: (table: TableSpec) => Promise<NftScene>): void {
  describe(`nft ${name}`, () => {
    test.each(Object.entries(sentences))('%s', async (_, say) => {
      await using scene = await makeScene(steeringTable);
      await expect(say(makeDialogue(scene.exec, steeringTable))).resolves.toBeUndefined();
    });

    test.each([steeringTable, natTable, directTable])(
      'lists the elements of $name as they are written',
      async (table) => {
        await using scene = await makeScene(table);
        const nft = makeDialogue(scene.exec, table);
        const elements = anElementOfEach(table);
        expect(await nft.write(1, ...elements)).toBe('');
        const written = elements.map(elementKey).sort();
        expect(await nft.elements()).toEqual(written);
        const whole = await nft.list('--stateless', 'list', 'table', ...table.name.split(' '));
        expect([...decodeListing(whole, table).elements].sort()).toEqual(written);
        expect(await nft.change(1, 2, { remove: elements })).toBe('');
        expect(await nft.elements()).toEqual([]);
      },
    );
  });
}
