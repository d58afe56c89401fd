import { createHmac } from 'node:crypto';
import type { IdentityFile } from '../state/identity.ts';
import type { Platform } from './platform.ts';

/** The name of this host in the Lease: the same after a restart, so that it takes its own Lease again at once. */
export type Identity = {
  readonly name: string;
  /** Writes it to the disk; must be called before other hosts see it. */
  readonly keep: () => Promise<void>;
};

type Machine = Pick<Platform, 'hostname' | 'newId' | 'files'>;

/**
 * The identity on the disk, or a new one: the same again on a machine that has lost its state directory, so that it does
 * not take itself for another host. Throws `NewerFileError`, `UnreadableFileError`.
 */
export async function identityOf(machine: Machine, file: IdentityFile): Promise<Identity> {
  const name = (await file.read()) ?? `${machine.hostname}_${(await machineHash(machine)) ?? machine.newId()}`;
  return { name, keep: () => file.write(name) };
}

/** The host name in an identity. */
export function hostOf(identity: string): string {
  return identity.replace(/_[^_]*$/, '');
}

/**
 * What this machine has and no other; `undefined`: it has no machine ID. A hash, because the machine ID must not be shown to
 * other machines (machine-id(5)). Clones of a virtual machine often have one machine ID, but not one UUID of the product.
 */
async function machineHash({ files }: Machine): Promise<string | undefined> {
  const read = async (path: string): Promise<string> => (await files.read(path).catch(() => undefined))?.trim() ?? '';
  const machineId = await read('/etc/machine-id');
  if (!/^[0-9a-f]{32}$/.test(machineId)) return undefined; // none, or `uninitialized` at the first boot
  const product = await read('/sys/class/dmi/id/product_uuid');
  return createHmac('sha256', machineId).update(`furiwake ${product.toLowerCase()}`).digest('hex').slice(0, hashLength);
}

const hashLength = 16;
