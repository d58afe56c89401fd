import type { Clock } from '../ports/clock.ts';

/** What proves who we are, and who the server is. Texts in PEM; any part may be missing. */
export type Credentials = {
  readonly token?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** Certificates that may have signed the server's; missing: those that Node trusts. */
  readonly ca?: string | undefined;
};

/** Credentials that may change while we run: files that rotate, plugins that expire. */
export type CredentialSource = {
  /** Those to use now; cheap while they are fresh. Throws `KubeConfigError` when there never were any. */
  current(): Promise<Credentials>;
  /** After the server refused `used`: obtains others, once for all that ask at the same time. */
  refresh(used: Credentials): Promise<Credentials>;
};

/** How often files are read again while nobody refuses what they hold. */
export const fileLifetimeMs = 60_000;

/** How long credentials whose renewal failed are used before renewing is tried again. */
const graceMs = 10_000;

/**
 * Keeps what `load` gives for `lifetimeMs`. A renewal that fails (a file in the middle of its rotation, a plugin
 * without network) leaves the old ones in use: the server is the judge of them, and its 401 asks for `refresh`.
 */
export function makeCredentialSource({
  clock,
  load,
}: {
  readonly clock: Clock;
  readonly load: () => Promise<{ readonly credentials: Credentials; readonly lifetimeMs: number }>;
}): CredentialSource {
  let kept: { readonly credentials: Credentials; readonly untilMs: number } | undefined;
  let loading: Promise<Credentials> | undefined;

  const reload = async (): Promise<Credentials> => {
    const { credentials, lifetimeMs } = await load();
    kept = { credentials, untilMs: clock.monotonic() + lifetimeMs };
    return credentials;
  };
  const shared = (): Promise<Credentials> => {
    loading ??= reload().finally(() => {
      loading = undefined;
    });
    return loading;
  };

  return {
    current: async () => {
      if (kept !== undefined && clock.monotonic() < kept.untilMs) return kept.credentials;
      try {
        return await shared();
      } catch (error) {
        if (kept === undefined) throw error;
        kept = { credentials: kept.credentials, untilMs: clock.monotonic() + graceMs };
        return kept.credentials;
      }
    },
    refresh: async (used) => (kept !== undefined && kept.credentials !== used ? kept.credentials : shared()),
  };
}
