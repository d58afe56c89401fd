import { Agent, type Dispatcher } from 'undici';

const timeoutMs = 5_000;
/** How long an answer waits for each tool of the host. A tool that hangs hides nothing else: the answer comes in time without it. */
export const answerMs = 3_000;

/** One HTTP request over a unix socket. Throws the system's error when there is no answer within five seconds. */
export async function askSocket(
  {
    socketPath,
    ...options
  }: { readonly socketPath: string } & Pick<Dispatcher.RequestOptions, 'method' | 'path' | 'body'>,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly text: string }> {
  const agent = new Agent({
    connect: { socketPath, timeout: timeoutMs },
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
  });
  try {
    const { statusCode, body } = await agent.request({ ...options, origin: 'http://furiwake', signal });
    return { status: statusCode, text: await body.text() };
  } finally {
    await agent.destroy();
  }
}
