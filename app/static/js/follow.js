// The conversation scrolls with what is written only while its reader is at the end.

const NEAR = 60;

export class Follow {
  constructor(scroll, content, latest) {
    this.scroll = scroll;
    this.content = content;
    this.latest = latest;
    this.following = true;
    this.top = 0;
    this.height = 0;
    scroll.addEventListener("scroll", () => this.moved(), { passive: true });
    new ResizeObserver(() => this.grown()).observe(content);
    new ResizeObserver(() => this.grown()).observe(scroll);
    latest.addEventListener("click", () => {
      this.toEnd();
      scroll.focus({ preventScroll: true });
    });
  }

  get atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroll;
    return scrollHeight - scrollTop - clientHeight < NEAR;
  }

  moved() {
    const { scrollTop } = this.scroll;
    if (this.atEnd) this.following = true;
    else if (scrollTop < this.top) this.following = false; // up can only be the reader
    this.top = scrollTop;
    this.show();
  }

  grown() {
    if (this.following && this.content.childElementCount) this.jump();
    this.show();
  }

  jump() {
    this.scroll.scrollTop = this.scroll.scrollHeight;
    this.top = this.scroll.scrollTop;
  }

  toEnd() {
    this.following = true;
    this.jump();
    this.show();
  }

  /** Keep what is in view where it is while `change` puts something above it. */
  keepingPlace(change) {
    const fromEnd = this.scroll.scrollHeight - this.scroll.scrollTop;
    change();
    this.scroll.scrollTop = this.scroll.scrollHeight - fromEnd;
    this.top = this.scroll.scrollTop;
  }

  show() {
    this.latest.hidden = this.following || this.atEnd;
  }
}
