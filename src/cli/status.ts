import { askAdmin } from '../daemon/admin.ts';
import type { HostStatus } from '../daemon/host-status.ts';
import { statePaths } from '../daemon/platform.ts';
import type { ServiceDetail } from '../daemon/service-detail.ts';
import type { TextScreen } from './screen.ts';
import { formatService } from './service-screen.ts';
import { formatStatus } from './status-screen.ts';

export type StatusRequest = {
  readonly stateDir: string;
  /** `NS/NAME`; `undefined`: all of this host. */
  readonly service: string | undefined;
  readonly isJson: boolean;
};

/**
 * What furiwake serves on this host, or one Service, as the JSON of its admin socket. Throws `StartError` without an answer
 * within five seconds.
 */
export async function askStatus({ stateDir, service }: StatusRequest, signal: AbortSignal): Promise<string> {
  const path = service === undefined ? '/status' : `/service?name=${encodeURIComponent(service)}`;
  return askAdmin(statePaths(stateDir).adminSocket, 'GET', path, '', signal);
}

/** How `furiwake status` shows an answer of {@link askStatus}. */
export function formatAnswer({ service, isJson }: StatusRequest, answer: string, screen: TextScreen): string {
  if (isJson) return answer;
  return service === undefined
    ? formatStatus(JSON.parse(answer) as HostStatus, screen)
    : formatService(JSON.parse(answer) as ServiceDetail, screen);
}

/** `furiwake drain` and `undrain` of a node or a Service (`NS/NAME`): what furiwake answers. */
export async function changeDrain(
  stateDir: string,
  verb: 'drain' | 'undrain',
  target: string,
  signal: AbortSignal,
): Promise<string> {
  return askAdmin(statePaths(stateDir).adminSocket, 'POST', `/${verb}`, target, signal);
}
