/* What both pages share: how a state, a span of time and a bar look, and how the server is asked. */
"use strict";

const Batuta = (function () {
    const BADGES = {
        received: "text-bg-secondary",
        rejected: "text-bg-dark",
        processing: "task-state-started",
        paused: "text-bg-warning",
        succeeded: "text-bg-success",
        failed: "text-bg-danger",
        cancelled: "text-bg-secondary",
    };

    function prefix() {
        const text = document.getElementById("url_prefix").value.replace(/^\/+|\/+$/g, "");
        return text ? "/" + text : "";
    }

    /* An id may hold slashes, which stay; everything else that means something in an address goes. */
    function address(path, job) {
        return prefix() + path + (job === undefined ? "" : encodeURIComponent(job).replace(/%2F/g, "/"));
    }

    function element(tag, className, text) {
        const made = document.createElement(tag);
        if (className) { made.className = className; }
        if (text !== undefined) { made.textContent = text; }
        return made;
    }

    function badge(state) {
        return element("span", "badge " + (BADGES[state] || "text-bg-secondary"), state.toUpperCase());
    }

    function count(number) {
        return number.toLocaleString("en");
    }

    function span(ms) {
        const s = Math.max(0, ms) / 1000;
        if (s < 1) { return Math.round(s * 1000) + " ms"; }
        if (s < 10) { return s.toFixed(1) + " s"; }
        if (s < 60) { return Math.floor(s) + " s"; }
        if (s < 3600) { return Math.floor(s / 60) + " min " + Math.floor(s % 60) + " s"; }
        if (s < 86400) { return Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min"; }
        return Math.floor(s / 86400) + " d " + Math.floor(s % 86400 / 3600) + " h";
    }

    /* Coarser than a span: an age that counts its seconds for ever makes a page flicker. */
    function age(ms) {
        const s = Math.max(0, ms) / 1000;
        if (s < 60) { return Math.floor(s) + " s"; }
        if (s < 3600) { return Math.floor(s / 60) + " min"; }
        if (s < 86400) { return Math.floor(s / 3600) + " h"; }
        return Math.floor(s / 86400) + " d";
    }

    function moment(ms) {
        return ms ? new Date(ms).toISOString().replace("T", " ").replace("Z", " UTC") : "";
    }

    function setBar(bar, job) {
        const part = job.total ? 100 * job.done / job.total : (job.state === "succeeded" ? 100 : 0);
        const fill = bar.firstElementChild;
        bar.className = "progress job-progress job-progress-" + job.state;
        bar.setAttribute("role", "progressbar");
        bar.setAttribute("aria-label", "Steps done");
        bar.setAttribute("aria-valuemin", "0");
        bar.setAttribute("aria-valuemax", job.total);
        bar.setAttribute("aria-valuenow", job.done);
        fill.style.width = part + "%";
    }

    function bar(job) {
        const made = element("div");
        made.appendChild(element("div", "progress-bar"));
        setBar(made, job);
        return made;
    }

    function cookie(name) {
        const match = document.cookie.match("(^|;)\\s*" + name + "\\s*=\\s*([^;]+)");
        return match ? decodeURIComponent(match.pop()) : "";
    }

    async function ask(path, options) {
        const answer = await fetch(path, Object.assign({credentials: "same-origin"}, options));
        const body = await answer.json().catch(() => ({message: answer.status + " " + answer.statusText}));
        if (!answer.ok) {
            throw Object.assign(new Error(body.message || answer.statusText), {status: answer.status});
        }
        return body;
    }

    function send(path) {
        return ask(path, {method: "POST", headers: {"X-XSRFToken": cookie("_xsrf")}});
    }

    function setLive(isLive, words) {
        const dot = document.getElementById("jobs-live-indicator");
        dot.classList.toggle("status-dot-live", isLive);
        dot.classList.toggle("status-dot-error", !isLive);
        document.getElementById("jobs-live-status").textContent = isLive ? words : "Out of reach";
        const trouble = document.getElementById("jobs-trouble");
        trouble.textContent = isLive ? "" : words;
        trouble.classList.toggle("d-none", isLive);
    }

    /* Call `look` now and again and again, `pause()` ms after it came back; never while nobody looks. */
    function follow(look, pause) {
        let timer = null, running = false, again = false;
        async function round() {
            window.clearTimeout(timer);
            if (running) { again = true; return; }
            running = true;
            try { await look(); } catch (error) { setLive(false, error.message); }
            running = false;
            if (again) { again = false; round(); return; }
            if (!document.hidden) { timer = window.setTimeout(round, pause()); }
        }
        document.addEventListener("visibilitychange", function () {
            if (!document.hidden) { round(); }
        });
        round();
        return round;
    }

    return {address, element, badge, count, span, age, moment, bar, setBar, ask, send, setLive, follow};
}());
