// The viewer is plain JavaScript that notebooks use too: s4s_notebook/widgets/viewer/*.js.

declare module '*/viewer/panel.js' {
  export class Viewer {
    constructor(source: object, options: { height?: number; limit?: number });
    readonly node: HTMLElement;
    start(): void;
    stop(): void;
  }
}

declare module '*/viewer/viewer.js' {
  export function unpack(
    slice: Record<string, any>,
    buffers: DataView[]
  ): Record<string, any>;
}
