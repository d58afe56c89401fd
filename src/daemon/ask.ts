import { once } from 'node:events';
import { request } from 'node:http';

const timeoutMs = 5_000;

/** One HTTP request over a unix socket. Throws the system's error when nobody answers within five seconds. */
export async function askSocket(
  {
    socketPath,
    method,
    path,
    body = '',
  }: Readonly<Record<'socketPath' | 'method' | 'path', string>> & {
    readonly body?: string;
  },
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly text: string }> {
  const asked = request({ socketPath, method, path, timeout: timeoutMs, signal, agent: false });
  asked.on('timeout', () => asked.destroy(new Error(`no answer within ${timeoutMs} ms`)));
  asked.end(body);
  const [response] = (await once(asked, 'response')) as [AsyncIterable<Buffer> & { readonly statusCode?: number }];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') };
}
