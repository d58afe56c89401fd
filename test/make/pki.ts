import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Texts in PEM, generated for this run. */
export type Pki = Readonly<Record<'ca' | 'cert' | 'key', string>>;

/** An authority, and a certificate and key for the name `me`; its files are in `folder`. */
export function makePki(folder: string, name: string): Pki {
  const at = (file: string): string => path.join(folder, `${name}-${file}`);
  const openssl = (...args: readonly string[]): Buffer => execFileSync('openssl', args, { stdio: 'pipe' });
  const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl(
    'req',
    '-x509',
    ...fresh,
    '-subj',
    `/CN=${name}-ca`,
    '-days',
    '2',
    '-keyout',
    at('ca.key'),
    '-out',
    at('ca.crt'),
  );
  openssl('req', ...fresh, '-subj', '/O=system:masters/CN=me', '-keyout', at('me.key'), '-out', at('me.csr'));
  writeFileSync(at('ext'), 'subjectAltName=DNS:kubernetes\n');
  openssl(
    'x509',
    '-req',
    '-in',
    at('me.csr'),
    '-CA',
    at('ca.crt'),
    '-CAkey',
    at('ca.key'),
    '-CAcreateserial',
    '-days',
    '2',
    '-extfile',
    at('ext'),
    '-out',
    at('me.crt'),
  );
  const read = (file: string): string => readFileSync(at(file), 'utf8');
  return { ca: read('ca.crt'), cert: read('me.crt'), key: read('me.key') };
}
