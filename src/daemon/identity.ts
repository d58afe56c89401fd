import { createHmac } from 'node:crypto';
import type { Platform } from './platform.ts';

type Machine = Pick<Platform, 'hostname' | 'newId' | 'files'>;

/**
 * The name in the Lease of a host that has none on its disk. The same again on a machine that has lost its state
 * directory, so that it does not take itself for another host; random if the machine has no ID.
 */
export async function newIdentity(machine: Machine): Promise<string> {
  return `${machine.hostname}_${(await machineHash(machine)) ?? machine.newId()}`;
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
