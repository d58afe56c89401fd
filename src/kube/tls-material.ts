import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { Credentials } from './credentials.ts';
import { KubeConfigError } from './errors.ts';

/**
 * Throws {@link KubeConfigError} for a CA, a certificate or a key that cannot be used: found only when a connection is
 * made, it would look like a server that is out of reach. `caWhere`, `pairWhere`: where they come from.
 */
export function assertTlsMaterial({ ca, cert, key }: Credentials, caWhere: string, pairWhere: string): void {
  attempt(ca, `${caWhere} holds no certificate in PEM form`, (pem) => new X509Certificate(pem));
  attempt(cert, `${pairWhere}: the client certificate is none in PEM form`, (pem) => new X509Certificate(pem));
  attempt(key, `${pairWhere}: the client key is none in PEM form, or has a passphrase`, (pem) =>
    createSecureContext({ key: pem }),
  );
  if (cert !== undefined && key !== undefined)
    attempt(key, `${pairWhere}: the client key is not that of the client certificate`, () =>
      createSecureContext({ cert, key }),
    );
}

function attempt(pem: string | undefined, complaint: string, use: (pem: string) => unknown): void {
  if (pem === undefined) return;
  try {
    use(pem);
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    throw new KubeConfigError(`${complaint} (${words})`, { cause: error });
  }
}
