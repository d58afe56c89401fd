import { isSystemError, messageOf } from '../async/error-words.ts';
import { CredentialsTimeout } from './credentials.ts';

/**
 * Why a request got no answer, for users: the messages of Node, OpenSSL and undici stay in the error's `cause`. `advice`:
 * what to do, if the cause says more than the code.
 *
 * - `UNTRUSTED`: the server's certificate is not trusted. `TIMEOUT`: no answer in time. `UNREACHABLE`: no connection,
 *   or a broken one.
 */
export type NoAnswer = Explanation & { readonly code: 'UNTRUSTED' | 'TIMEOUT' | 'UNREACHABLE' };

type Explanation = { readonly message: string; readonly advice?: string };

export function noAnswer(error: unknown): NoAnswer {
  // Node reports the addresses that it tried in an AggregateError without a message.
  if (error instanceof AggregateError && error.errors.length > 0) {
    const all = error.errors.map(noAnswer);
    const first = all[0] ?? noAnswer(undefined);
    return { ...first, message: [...new Set(all.map(({ message }) => message))].join('; ') };
  }
  const code = textIn(error, 'code');
  const distrust = distrustWords(code, error);
  if (distrust !== undefined)
    return {
      ...distrust,
      code: 'UNTRUSTED',
      message: `the API server's certificate is not trusted (${distrust.message})`,
    };
  if ((error instanceof Error && error.name === 'TimeoutError') || code.endsWith('TIMEOUT') || code === 'ETIMEDOUT')
    return { code: 'TIMEOUT', ...timeoutWords(code, error) };
  return { code: 'UNREACHABLE', ...unreachableWords(code, error) };
}

function unreachableWords(code: string, error: unknown): Explanation {
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EAI_FAIL':
    case 'EAI_NODATA':
    case 'EAI_NONAME':
      return {
        message: `cannot resolve host ${textIn(error, 'hostname') || 'name of the API server'}`,
        advice: 'check the name in the server of the kubeconfig, and the DNS servers of this host (/etc/resolv.conf)',
      };
    case 'ECONNREFUSED':
      return {
        message: `connection refused by ${peerOf(error)}`,
        advice: 'check that the API server runs, and the address and port in the server of the kubeconfig',
      };
    case 'EHOSTUNREACH':
    case 'EHOSTDOWN':
    case 'ENETUNREACH':
    case 'ENETDOWN':
    case 'EADDRNOTAVAIL':
      return {
        message: `no route to ${peerOf(error)}`,
        advice:
          'check the address in the server of the kubeconfig, that this machine is up, and the routes of this host (ip route get ADDRESS)',
      };
    case 'ECONNRESET':
    case 'ECONNABORTED':
    case 'EPIPE':
    case 'UND_ERR_SOCKET':
      return {
        message: 'the connection to the API server was lost',
        advice: 'look for a restart of the API server, or a proxy or firewall on the way that ends connections',
      };
    case 'EPROTO':
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
    case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
      return {
        message: 'the server does not answer with TLS (https://)',
        advice: 'check the port in the server of the kubeconfig: another program listens there',
      };
    default:
      return rareWords(code, error);
  }
}

function rareWords(code: string, error: unknown): Explanation {
  if (code.startsWith('ERR_SSL_') && code.includes('ALERT'))
    return {
      message: 'the API server rejected the TLS connection (client certificate?)',
      advice: 'check client-certificate and client-key in the kubeconfig: are they of this cluster, and not expired?',
    };
  if (code.startsWith('HPE_'))
    return {
      message: 'the server does not answer with HTTP',
      advice: 'check the port in the server of the kubeconfig: another program listens there',
    };
  if (isSystemError(error)) return { message: `cannot reach the API server: ${messageOf(error)}` };
  return { message: `cannot reach the API server${code === '' ? '' : ` (${code})`}` };
}

function timeoutWords(code: string, error: unknown): Explanation {
  const advice =
    'check the address in the server of the kubeconfig, and firewalls between this host and the API server that drop packets';
  switch (code) {
    case 'ETIMEDOUT':
      return { message: `no answer from ${peerOf(error)}`, advice };
    case 'UND_ERR_CONNECT_TIMEOUT':
      return { message: 'cannot connect to the API server within 10 s', advice };
    default:
      return error instanceof CredentialsTimeout
        ? {
            message: messageOf(error),
            advice: 'run the exec plugin of the kubeconfig by hand; check the disk that has the files',
          }
        : { message: 'the API server did not answer in time' };
  }
}

/** The fault of the server's certificate; `undefined` for other errors. */
function distrustWords(code: string, error: unknown): Explanation | undefined {
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return {
        message: 'it has expired',
        advice: 'renew the certificate of the API server (kubeadm certs renew apiserver); check the clock of this host',
      };
    case 'CERT_NOT_YET_VALID':
      return { message: 'it is not valid yet', advice: 'set the clock of this host (timedatectl)' };
    case 'CERT_REVOKED':
      return { message: 'it was revoked' };
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return {
        message: `it is not valid for ${textIn(error, 'host') || 'the host in the URL'}`,
        advice:
          'use a name or address that is in the certificate as server in the kubeconfig, or set tls-server-name to one',
      };
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'CERT_UNTRUSTED':
      return {
        message: 'it is signed by an unknown authority',
        advice: "put this cluster's CA certificate into the kubeconfig (certificate-authority-data)",
      };
    case 'CERT_SIGNATURE_FAILURE':
      return { message: 'its signature does not match the certificate authority' };
    case 'INVALID_CA':
    case 'INVALID_PURPOSE':
    case 'CERT_REJECTED':
    case 'CERT_CHAIN_TOO_LONG':
    case 'PATH_LENGTH_EXCEEDED':
      return { message: 'its certificate authority may not sign it' };
    default:
      return undefined;
  }
}

/** `192.0.2.2:6443` or `[2001:db8::1]:6443`, from an error of Node's sockets. */
function peerOf(error: unknown): string {
  const address = textIn(error, 'address');
  if (address === '') return 'the API server';
  return `${address.includes(':') ? `[${address}]` : address}:${textIn(error, 'port')}`;
}

function textIn(error: unknown, field: 'code' | 'hostname' | 'host' | 'address' | 'port'): string {
  const value: unknown = error instanceof Error ? (error as Partial<Record<typeof field, unknown>>)[field] : undefined;
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}
