import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { Credentials } from './credentials.ts';
import { KubeConfigError } from './errors.ts';

/**
 * Throws {@link KubeConfigError} for an unusable CA, certificate or key. Without this check the first connection would
 * fail as if the server were unreachable. `caWhere`, `pairWhere`: their sources.
 */
export function assertTlsMaterial({ ca, cert, key }: Credentials, caWhere: string, pairWhere: string): void {
  attempt(ca, `${caWhere} is not a certificate in PEM form`, (pem) => new X509Certificate(pem));
  attempt(cert, `${pairWhere}: client-certificate is not a certificate in PEM form`, (pem) => new X509Certificate(pem));
  attempt(key, `${pairWhere}: client-key is not a key in PEM form, or has a passphrase`, (pem) =>
    createSecureContext({ key: pem }),
  );
  if (cert !== undefined && key !== undefined)
    attempt(key, `${pairWhere}: client-key does not belong to client-certificate`, () =>
      createSecureContext({ cert, key }),
    );
}

function attempt(pem: string | undefined, complaint: string, use: (pem: string) => unknown): void {
  if (pem === undefined) return;
  try {
    use(pem);
  } catch (error) {
    throw new KubeConfigError(complaint, { cause: error });
  }
}
