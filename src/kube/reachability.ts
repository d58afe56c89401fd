/**
 * Why a request got no answer, for users: the messages of Node, OpenSSL and undici stay in the error's `cause`.
 *
 * - `UNTRUSTED`: the server's certificate is not trusted. `TIMEOUT`: no answer in time. `UNREACHABLE`: no connection,
 *   or a broken one.
 */
export type NoAnswer = { readonly code: 'UNTRUSTED' | 'TIMEOUT' | 'UNREACHABLE'; readonly message: string };

export function noAnswer(error: unknown): NoAnswer {
  // Node reports the addresses that it tried in an AggregateError without a message.
  if (error instanceof AggregateError && error.errors.length > 0) {
    const all = error.errors.map(noAnswer);
    const [first] = all;
    return { code: first?.code ?? 'UNREACHABLE', message: [...new Set(all.map(({ message }) => message))].join('; ') };
  }
  const code = textIn(error, 'code');
  const distrust = distrustWords(code, error);
  if (distrust !== undefined)
    return { code: 'UNTRUSTED', message: `the API server's certificate is not trusted (${distrust})` };
  if ((error instanceof Error && error.name === 'TimeoutError') || code.endsWith('TIMEOUT') || code === 'ETIMEDOUT')
    return { code: 'TIMEOUT', message: timeoutWords(code, error) };
  return { code: 'UNREACHABLE', message: unreachableWords(code, error) };
}

function unreachableWords(code: string, error: unknown): string {
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EAI_FAIL':
    case 'EAI_NODATA':
    case 'EAI_NONAME':
      return `cannot resolve host ${textIn(error, 'hostname') || 'name of the API server'}`;
    case 'ECONNREFUSED':
      return `connection refused by ${peerOf(error)}`;
    case 'EHOSTUNREACH':
    case 'EHOSTDOWN':
    case 'ENETUNREACH':
    case 'ENETDOWN':
    case 'EADDRNOTAVAIL':
      return `no route to ${peerOf(error)}`;
    case 'ECONNRESET':
    case 'ECONNABORTED':
    case 'EPIPE':
    case 'UND_ERR_SOCKET':
      return 'the connection to the API server was lost';
    case 'EPROTO':
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
    case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
      return 'the server does not answer with TLS (https://)';
    default:
      return code.startsWith('ERR_SSL_') && code.includes('ALERT')
        ? 'the API server rejected the TLS connection (client certificate?)'
        : `cannot reach the API server${code === '' ? '' : ` (${code})`}`;
  }
}

function timeoutWords(code: string, error: unknown): string {
  switch (code) {
    case 'ETIMEDOUT':
      return `no answer from ${peerOf(error)}`;
    case 'UND_ERR_CONNECT_TIMEOUT':
      return 'cannot connect to the API server within 10 s';
    default:
      return 'the API server did not answer in time';
  }
}

/** The fault of the server's certificate; `undefined` for other errors. */
function distrustWords(code: string, error: unknown): string | undefined {
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return 'it has expired';
    case 'CERT_NOT_YET_VALID':
      return 'it is not valid yet; is the clock of this host right?';
    case 'CERT_REVOKED':
      return 'it was revoked';
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `it is not valid for ${textIn(error, 'host') || 'the host in the URL'}`;
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'CERT_UNTRUSTED':
      return 'it is signed by an unknown authority';
    case 'CERT_SIGNATURE_FAILURE':
      return 'its signature does not match the certificate authority';
    case 'INVALID_CA':
    case 'INVALID_PURPOSE':
    case 'CERT_REJECTED':
    case 'CERT_CHAIN_TOO_LONG':
    case 'PATH_LENGTH_EXCEEDED':
      return 'its certificate authority may not sign it';
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
