import { describe, expect, test } from 'vitest';
import type { AddressRecord } from '../../src/core/addresses/assignment.ts';
import { parseIp } from '../../src/core/ip/ip.ts';
import type { ListenerKey, ServiceKey, ServiceUid } from '../../src/core/model/names.ts';
import type { Ledger } from '../../src/ports/ledger.ts';

/** A ledger, and the suite's actions on it from outside. */
export type LedgerScene = {
  /** The same ledger, opened by another process. */
  readonly open: () => Ledger;
  /** From now on commits fail with this message, or succeed. */
  readonly failWith: (message: string | undefined) => void;
};

const { signal } = new AbortController();

export function recordOf(name: string, ...addresses: readonly string[]): readonly [ServiceUid, AddressRecord] {
  const uid = `uid-${name}` as ServiceUid;
  const ips = addresses.flatMap((text) => parseIp(text) ?? []);
  const listeners = ips.map((ip) => `${ip.text}|80|TCP` as ListenerKey);
  return [uid, { uid, service: `default/${name}` as ServiceKey, addresses: ips, listeners }];
}

const a = recordOf('a', '192.0.2.1', '2001:db8::1');
const b = recordOf('b', '192.0.2.2');
const movedB = recordOf('b', '192.0.2.3');
const pending = recordOf('pending');

/** The contract of every implementation of the port. */
export function ledgerContract(name: string, makeScene: () => LedgerScene): void {
  describe(`ledger contract: ${name}`, () => {
    test('an empty ledger has no records', async () => {
      expect((await makeScene().open().read()).size).toBe(0);
    });

    test('the next process reads all commits: additions, changes, removals', async () => {
      const { open } = makeScene();
      const ledger = open();
      await ledger.read();
      expect(await ledger.commit(new Map([a, b, pending]), signal)).toEqual(new Map());
      expect(await ledger.commit(new Map([movedB, [a[0], undefined]]), signal)).toEqual(new Map());
      expect(new Map(await open().read())).toEqual(new Map([pending, movedB]));
    });

    test('removing a missing record, and an empty commit, succeed', async () => {
      const { open } = makeScene();
      const ledger = open();
      expect(await ledger.commit(new Map([[a[0], undefined]]), signal)).toEqual(new Map());
      expect(await ledger.commit(new Map(), signal)).toEqual(new Map());
      expect((await open().read()).size).toBe(0);
    });

    test('a failed commit gives the cause for each of its keys, and leaves every record as it was', async () => {
      const { open, failWith } = makeScene();
      const ledger = open();
      await ledger.commit(new Map([a, b]), signal);
      failWith('no space left on device');
      const failed = await ledger.commit(new Map([movedB, pending, [a[0], undefined]]), signal);
      expect(new Set(failed.keys())).toEqual(new Set([b[0], pending[0], a[0]]));
      expect(new Set(failed.values())).toEqual(new Set(['no space left on device']));
      expect(new Map(await open().read())).toEqual(new Map([a, b]));
    });

    test('after a failure the next commit succeeds, without the failed changes', async () => {
      const { open, failWith } = makeScene();
      const ledger = open();
      await ledger.commit(new Map([a]), signal);
      failWith('no space left on device');
      await ledger.commit(new Map([b]), signal);
      failWith(undefined);
      expect(await ledger.commit(new Map([pending]), signal)).toEqual(new Map());
      expect(new Map(await open().read())).toEqual(new Map([a, pending]));
    });
  });
}
