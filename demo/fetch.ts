/*
 * Runs on the client: `node fetch.ts URL COUNT` fetches URL repeatedly, each time over a new connection, and prints the
 * results as JSON ({@link Fetched}).
 */
import { get } from 'node:http';

export type Fetched = {
  /** Answers with the welcome page. */
  readonly good: number;
  /** The errors of the others. */
  readonly failures: readonly string[];
  readonly slowestMs: number;
};

const deadlineMs = 30_000;

function fetchPage(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false, signal: AbortSignal.timeout(deadlineMs) }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.once('end', () => resolve(body)).once('error', reject);
    });
    request.once('error', reject);
  });
}

async function fetchAll(url: string, count: number): Promise<Fetched> {
  const failures: string[] = [];
  let slowestMs = 0;
  for (let i = 0; i < count; i++) {
    const started = performance.now();
    try {
      const page = await fetchPage(url);
      if (!page.includes('Welcome to nginx!')) failures.push(`not the welcome page: ${page.slice(0, 100)}`);
    } catch (error) {
      failures.push(String(error));
    }
    slowestMs = Math.max(slowestMs, performance.now() - started);
  }
  return { good: count - failures.length, failures, slowestMs: Math.round(slowestMs) };
}

process.stdout.write(JSON.stringify(await fetchAll(process.argv[2] ?? '', Number(process.argv[3]))));
