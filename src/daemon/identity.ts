import type { Platform } from './platform.ts';

/** The name of this host in the Lease: the same after a restart, so that it takes its own Lease again at once. */
export type Identity = {
  readonly name: string;
  /** Writes it to the disk; must be called before other hosts see it. */
  readonly keep: () => Promise<void>;
};

/** The identity on the disk, or a new one. */
export async function identityOf(
  { files, hostname, newId }: Pick<Platform, 'files' | 'hostname' | 'newId'>,
  path: string,
): Promise<Identity> {
  const known = await knownIdentity({ files }, path);
  const name = known ?? `${hostname}_${newId()}`;
  return {
    name,
    keep: async () => {
      if (known === undefined) await files.write(path, `${name}\n`);
    },
  };
}

/** The host name in an identity. */
export function hostOf(identity: string): string {
  return identity.replace(/_[^_]*$/, '');
}

export async function knownIdentity({ files }: Pick<Platform, 'files'>, path: string): Promise<string | undefined> {
  return (await files.read(path))?.trim() || undefined;
}
