import type { IdentityFile } from '../state/identity.ts';
import type { Platform } from './platform.ts';

/** The name of this host in the Lease: the same after a restart, so that it takes its own Lease again at once. */
export type Identity = {
  readonly name: string;
  /** Writes it to the disk; must be called before other hosts see it. */
  readonly keep: () => Promise<void>;
};

/** The identity on the disk, or a new one. Throws `NewerFileError`, `UnreadableFileError`. */
export async function identityOf(
  { hostname, newId }: Pick<Platform, 'hostname' | 'newId'>,
  file: IdentityFile,
): Promise<Identity> {
  const name = (await file.read()) ?? `${hostname}_${newId()}`;
  return { name, keep: () => file.write(name) };
}

/** The host name in an identity. */
export function hostOf(identity: string): string {
  return identity.replace(/_[^_]*$/, '');
}
